package aws_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

const listSecrets = "secretsmanager:ListSecrets"

// list reads all pages of versions.
func list(t *testing.T, r providers.VersionLister, refs []providers.Ref) (all map[providers.Ref]string, pages int) {
	t.Helper()
	all = map[providers.Ref]string{}
	for page := ""; ; {
		found, next, err := r.Versions(t.Context(), page, refs)
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(all, found)
		if pages, page = pages+1, next; page == "" {
			return all, pages
		}
	}
}

// TestVersionsAreThoseOfReads lists the versions of 1,000 secrets with ten
// requests, and finds what has changed, what went, and what came back.
func TestVersionsAreThoseOfReads(t *testing.T) {
	a := server.Get(t)
	key, err := a.User(t.Context(), "lister")
	if err != nil {
		t.Fatal(err)
	}
	settings := byKey()
	settings["prefix"] = "versions/"
	reader, err := open(t, a, settings, keyPair(key.ID, key.Secret))
	if err != nil {
		t.Fatal(err)
	}
	r := reader.(providers.VersionLister)
	const secrets = 1000
	refs := make([]providers.Ref, secrets)
	put := func(i int) {
		if _, err := a.PutSecret(t.Context(), region, fmt.Sprintf("versions/%d", i), fmt.Sprint("value ", i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range refs {
		put(i)
		refs[i] = providers.Ref{Path: fmt.Sprint(i)}
	}
	refs[7].Version = "AWSCURRENT"
	read := map[providers.Ref]string{}
	for i, result := range r.ReadAll(t.Context(), refs) {
		if read[refs[i]] = result.Version; result.Err != nil || result.Version == "" {
			t.Fatalf("ReadAll of %+v: version %q, %v, want one", refs[i], result.Version, result.Err)
		}
	}
	resetCounts(t, a)
	all, pages := list(t, r, refs)
	if want := secrets / r.Listing().PerPage; pages != want {
		t.Errorf("%d secrets: %d pages, want %d", secrets, pages, want)
	}
	if counts, err := a.Counts(t.Context()); err != nil || counts[listSecrets] != pages || len(counts) != 1 {
		t.Errorf("requests: got %v, %v, want %d lists and no other", counts, err, pages)
	}
	for _, ref := range refs {
		if all[ref] != read[ref] {
			t.Errorf("%+v: the list says version %q, a read %q", ref, all[ref], read[ref])
		}
	}

	put(417) // a new version becomes the current one
	after, _ := list(t, r, slices.Concat(refs, []providers.Ref{{Path: "416", Version: "AWSPREVIOUS"}, {Path: "none"}}))
	if after[refs[417]] == read[refs[417]] || after[refs[417]] == "" {
		t.Errorf("a secret with a new version: got %q, want another than %q", after[refs[417]], read[refs[417]])
	}
	if changed := len(after); changed != secrets {
		t.Errorf("got versions of %d refs, want of %d: a list says nothing of other stages nor of what is not there", changed, secrets)
	}
	for i, ref := range refs {
		if i != 417 && after[ref] != read[ref] {
			t.Errorf("%+v has another version, though it is as it was", ref)
		}
	}
	if got := r.ReadAll(t.Context(), refs[416:418])[1]; got.Version != after[refs[417]] || got.Err != nil {
		t.Errorf("read after the list: version %q, %v, want that of the list, %q", got.Version, got.Err, after[refs[417]])
	}
}

// TestVersionsDenied lists without the right to.
func TestVersionsDenied(t *testing.T) {
	a := server.Get(t)
	reader, _ := user(t, a, "no-lister", may("*"), testenv.AWSStatement{Actions: []string{batch}})
	_, _, err := reader.(providers.VersionLister).Versions(t.Context(), "", []providers.Ref{{Path: "x"}})
	if !errors.Is(err, providers.ErrDenied) {
		t.Errorf("got %v, want ErrDenied", err)
	}
}

// TestParametersAreNotListed: DescribeParameters may return far less than a
// page, and is slow for all of the account.
func TestParametersAreNotListed(t *testing.T) {
	a := server.Get(t)
	key, err := a.User(t.Context(), "no-list-of-parameters")
	if err != nil {
		t.Fatal(err)
	}
	settings := byKey()
	settings["service"] = "ParameterStore"
	r, err := open(t, a, settings, keyPair(key.ID, key.Secret))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := r.(providers.VersionLister); ok {
		t.Error("a store of parameters says that it lists versions")
	}
}
