package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockstep-dev/lockstep/providers"
)

// testCapabilities runs the checks of what the Reader can do besides.
func (s *suite) testCapabilities(t *testing.T) {
	if b, ok := s.Reader.(providers.BatchReader); ok {
		t.Run("ReadAll", func(t *testing.T) { s.testReadAll(t, b) })
		t.Run("ReadAllCancelled", func(t *testing.T) { s.testReadAllCancelled(t, b) })
	}
	if l, ok := s.Reader.(providers.VersionLister); ok {
		t.Run("Versions", func(t *testing.T) { s.testVersions(t, l) })
	}
	if f, ok := s.Reader.(providers.Finder); ok {
		t.Run("Find", func(t *testing.T) { s.testFind(t, f) })
	}
	if w, ok := s.Reader.(providers.Writer); ok {
		t.Run("Write", func(t *testing.T) { s.testWrite(t, w) })
		t.Run("WriteProperty", func(t *testing.T) { s.testWriteProperty(t, w) })
		t.Run("WriteForeign", func(t *testing.T) { s.testWriteForeign(t, w) })
		t.Run("DeleteTwice", func(t *testing.T) { s.testDelete(t, w) })
	}
}

// testReadAll reads more secrets than any store takes in one request, and with
// them what fails.
func (s *suite) testReadAll(t *testing.T, b providers.BatchReader) {
	const secrets = 23
	var refs []providers.Ref
	for i := range secrets {
		path := fmt.Sprintf("conformance/batch-%d", i)
		s.put(t, path, s.object(path))
		refs = append(refs, providers.Ref{Path: s.Path(path)})
	}
	first := s.put(t, "conformance/batch-0", s.object("newest"))
	s.put(t, s.Denied, s.object("denied"))
	refs = append(refs,
		providers.Ref{Path: s.Path("conformance/none")},
		providers.Ref{Path: s.Path(s.Denied)},
		providers.Ref{Path: s.Path("conformance/batch-0"), Version: first},
		providers.Ref{Path: s.Path("conformance/batch-0"), Version: s.MissingVersion},
		providers.Ref{Path: s.Path("conformance/batch-1")},
	)
	got := b.ReadAll(t.Context(), refs)
	if len(got) != len(refs) {
		t.Fatalf("ReadAll of %d refs: got %d results", len(refs), len(got))
	}
	want := map[int]error{secrets: providers.ErrNotFound, secrets + 1: providers.ErrDenied, secrets + 3: providers.ErrNotFound}
	for i, result := range got {
		s.keep(result.Err)
		name := fmt.Sprintf("conformance/batch-%d", i)
		switch i {
		case 0, secrets + 2:
			name = "newest"
		case secrets + 4:
			name = "conformance/batch-1"
		}
		if !errors.Is(result.Err, want[i]) {
			t.Errorf("ReadAll of %+v: got %v, want %v", refs[i], result.Err, want[i])
		}
		if want[i] == nil && !sameJSON(string(result.Value.Bytes()), s.object(name)) {
			t.Errorf("ReadAll of %+v: got %s, want %s", refs[i], result.Value.Bytes(), s.object(name))
		}
	}
	clear(got[1].Value.Bytes()) // callers wipe what they have read
	if last := got[len(got)-1].Value.Bytes(); !sameJSON(string(last), s.object("conformance/batch-1")) {
		t.Error("two results of ReadAll share their bytes")
	}
}

func (s *suite) testReadAllCancelled(t *testing.T, b providers.BatchReader) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	refs := []providers.Ref{{Path: s.Path("conformance/one")}, {Path: s.Path("conformance/none")}}
	for i, result := range b.ReadAll(ctx, refs) {
		s.keep(result.Err)
		if !errors.Is(result.Err, context.Canceled) || errors.Is(result.Err, providers.ErrNotFound) {
			t.Errorf("ReadAll of %+v with a cancelled context: got %v, want context.Canceled", refs[i], result.Err)
		}
	}
}

func (s *suite) testFind(t *testing.T, f providers.Finder) {
	red, blue := s.Path("conformance/find/red"), s.Path("conformance/find/blue")
	for _, path := range []string{"conformance/find/red", "conformance/find/blue", "conformance/other"} {
		s.put(t, path, s.object(path))
	}
	s.tag(t, map[string]map[string]string{red: {"color": "red", "team": "a"}, blue: {"color": "blue", "team": "a"}})
	cases := map[string]struct {
		reason string
		query  providers.Query
		want   []string
		needs  bool
	}{
		"ByName":      {"A name matches anywhere in the key.", providers.Query{Path: s.Folder, Name: regexp.MustCompile("find.(red|blue)$|^(red|blue)$")}, []string{blue, red}, true},
		"NotByName":   {"What matches nothing finds nothing.", providers.Query{Path: s.Folder, Name: regexp.MustCompile("no-such-name")}, nil, true},
		"ByPath":      {"A path finds what is below it.", providers.Query{Path: s.Folder}, []string{blue, red}, s.Folder != ""},
		"ByTag":       {"A tag has a value.", providers.Query{Path: s.Folder, Tags: map[string]string{"color": "red"}}, []string{red}, s.Tag != nil},
		"ByTags":      {"All tags must match.", providers.Query{Path: s.Folder, Tags: map[string]string{"color": "red", "team": "b"}}, nil, s.Tag != nil},
		"ByTagOfAll":  {"Several have the same one.", providers.Query{Path: s.Folder, Tags: map[string]string{"team": "a"}}, []string{blue, red}, s.Tag != nil},
		"ByTagAndKey": {"Fields add up.", providers.Query{Path: s.Folder, Name: regexp.MustCompile("blue"), Tags: map[string]string{"team": "a"}}, []string{blue}, s.Tag != nil},
	}
	for name, tc := range cases {
		if tc.needs {
			t.Run(name, func(t *testing.T) { s.wantFound(t, f, tc.reason, tc.query, tc.want) })
		}
	}
}

func (s *suite) tag(t *testing.T, tags map[string]map[string]string) {
	t.Helper()
	if s.Tag == nil {
		return
	}
	for path, those := range tags {
		if err := s.Tag(t.Context(), path, those); err != nil {
			t.Fatal(err)
		}
	}
}

// wantFound fails t unless the query finds want, and all of it can be read.
func (s *suite) wantFound(t *testing.T, f providers.Finder, reason string, query providers.Query, want []string) {
	t.Helper()
	got, err := f.Find(t.Context(), query)
	if err != nil {
		s.keep(err)
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, slices.Clip(got), emptyIsNil); diff != "" {
		t.Errorf("%s\nFind: (-want +got)\n%s", reason, diff)
	}
	for _, path := range got {
		if v, err := s.Reader.Read(t.Context(), providers.Ref{Path: path}); err != nil || len(v.Bytes()) == 0 {
			t.Errorf("Read of %q, which Find gave: %v", path, err)
		}
	}
}

// emptyIsNil makes a list without entries equal to none.
var emptyIsNil = cmp.FilterValues(func(a, b []string) bool { return len(a) == 0 && len(b) == 0 }, cmp.Comparer(func(_, _ []string) bool { return true }))

func (s *suite) write(t *testing.T, w providers.Writer, to providers.Target, value string) error {
	t.Helper()
	to.Path = s.Path(to.Path)
	err := w.Write(t.Context(), to, providers.NewValue([]byte(value)), json.RawMessage(s.Metadata))
	s.keep(err)
	return err
}

func (s *suite) mustWrite(t *testing.T, w providers.Writer, to providers.Target, value string) {
	t.Helper()
	if err := s.write(t, w, to, value); err != nil {
		t.Fatalf("Write(%+v): %v", to, err)
	}
}

func (s *suite) testWrite(t *testing.T, w providers.Writer) {
	to := providers.Target{Path: "conformance/written"}
	for _, value := range []string{s.object("first"), s.object("second"), s.object("second")} {
		s.mustWrite(t, w, to, value)
		s.wantObject(t, providers.Ref{Path: to.Path}, value)
	}
}

func (s *suite) testWriteProperty(t *testing.T, w providers.Writer) {
	at := func(property string) providers.Target {
		return providers.Target{Path: "conformance/properties", Property: property}
	}
	s.mustWrite(t, w, at("a"), s.canary)
	s.mustWrite(t, w, at("b"), "two")
	s.wantObject(t, providers.Ref{Path: "conformance/properties"}, `{"a":"`+s.canary+`","b":"two"}`)
	for _, step := range []struct{ property, left string }{{"a", `{"b":"two"}`}, {"none", `{"b":"two"}`}, {"b", ""}} {
		to := at(step.property)
		to.Path = s.Path(to.Path)
		if err := w.Delete(t.Context(), to); err != nil {
			s.keep(err)
			t.Fatalf("Delete(%+v): %v", to, err)
		}
		if step.left != "" {
			s.wantObject(t, providers.Ref{Path: "conformance/properties"}, step.left)
		}
	}
	if _, err := s.read(t.Context(), providers.Ref{Path: "conformance/properties"}); !errors.Is(err, providers.ErrNotFound) {
		t.Errorf("Read after the last property is deleted: got %v, want ErrNotFound", err)
	}
}

// testWriteForeign wants what someone else has put there to stay.
func (s *suite) testWriteForeign(t *testing.T, w providers.Writer) {
	s.put(t, "conformance/foreign", s.object("foreign"))
	for _, property := range []string{"", "password"} {
		if err := s.write(t, w, providers.Target{Path: "conformance/foreign", Property: property}, s.object("ours")); !errors.Is(err, providers.ErrForeign) {
			t.Errorf("Write over what someone else has put there: got %v, want ErrForeign", err)
		}
		to := providers.Target{Path: s.Path("conformance/foreign"), Property: property}
		if err := w.Delete(t.Context(), to); !errors.Is(err, providers.ErrForeign) {
			t.Errorf("Delete of what someone else has put there: got %v, want ErrForeign", err)
		}
	}
	s.wantObject(t, providers.Ref{Path: "conformance/foreign"}, s.object("foreign"))
}

func (s *suite) testDelete(t *testing.T, w providers.Writer) {
	to := providers.Target{Path: "conformance/deleted"}
	s.mustWrite(t, w, to, s.object("deleted"))
	for range 2 {
		if err := w.Delete(t.Context(), providers.Target{Path: s.Path(to.Path)}); err != nil {
			t.Errorf("Delete: %v", err)
		}
	}
	if _, err := s.read(t.Context(), providers.Ref{Path: to.Path}); !errors.Is(err, providers.ErrNotFound) {
		t.Errorf("Read of what was deleted: got %v, want ErrNotFound", err)
	}
	if err := w.Delete(t.Context(), providers.Target{Path: s.Path("conformance/never"), Property: strings.Repeat("p", 3)}); err != nil {
		t.Errorf("Delete of a property of nothing: %v", err)
	}
}
