package conformance

import (
	"maps"
	"testing"

	"github.com/lockstep-dev/lockstep/providers"
)

// testVersions lists versions: the list says another one when a secret has a
// new value, the same one as a read does, and nothing of what is not there.
func (s *suite) testVersions(t *testing.T, l providers.VersionLister) {
	if l.Listing().PerPage <= 0 {
		t.Fatalf("Listing: got %+v, want a page of secrets: do not implement VersionLister without one", l.Listing())
	}
	var refs []providers.Ref
	for _, path := range []string{"conformance/versions-0", "conformance/versions-1", "conformance/no-version"} {
		refs = append(refs, providers.Ref{Path: s.Path(path)})
	}
	s.put(t, "conformance/versions-0", s.object("a"))
	s.put(t, "conformance/versions-1", s.object("b"))
	before := s.versions(t, l, refs)
	s.put(t, "conformance/versions-1", s.object("c"))
	after := s.versions(t, l, refs)
	if v := before[refs[0]]; v == "" || after[refs[0]] != v {
		t.Errorf("a secret that stays: versions %q and %q, want the same", v, after[refs[0]])
	}
	if v := before[refs[1]]; v == "" || after[refs[1]] == "" || after[refs[1]] == v {
		t.Errorf("a secret that changes: versions %q and %q, want two", v, after[refs[1]])
	}
	if v, ok := after[refs[2]]; ok {
		t.Errorf("a secret that is not there: version %q, want none", v)
	}
	for _, some := range [][]providers.Ref{refs[:2], refs[1:2]} {
		for i, result := range l.ReadAll(t.Context(), some) {
			if result.Err != nil || result.Version != after[some[i]] {
				t.Errorf("read of %+v: version %q, %v, want that of the list, %q", some[i], result.Version, result.Err, after[some[i]])
			}
		}
	}
}

// versions reads the whole list.
func (s *suite) versions(t *testing.T, l providers.VersionLister, refs []providers.Ref) map[providers.Ref]string {
	t.Helper()
	all := map[providers.Ref]string{}
	for page := ""; ; {
		found, next, err := l.Versions(t.Context(), page, refs)
		if err != nil {
			s.keep(err)
			t.Fatalf("Versions: %v", err)
		}
		maps.Copy(all, found)
		if page = next; page == "" {
			return all
		}
	}
}
