package main

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Settings come from flags and from the environment of Sealed Secrets, and a
// flag wins.
func TestSealOptions(t *testing.T) {
	t.Setenv("SEALED_SECRETS_LABEL_SELECTOR", "team=a")
	t.Setenv("SEALED_SECRETS_RATE_LIMIT", "7")
	t.Setenv("SEALED_SECRETS_ACCEPT_DEPRECATED_V1_DATA", "false")
	o, err := parse([]string{"--namespace", "own", "--rate-limit", "3", "--additional-namespaces", "b, a"})
	if err != nil {
		t.Fatal(err)
	}
	if o.selector != "team=a" || o.rateLimit != 3 || o.acceptV1Data {
		t.Errorf("selector %q, rate %v, v1 data %v", o.selector, o.rateLimit, o.acceptV1Data)
	}
	watched, err := o.watched(o.namespace)
	if diff := cmp.Diff([]string{"a", "b", "own"}, slices.Sorted(maps.Keys(watched))); err != nil || diff != "" {
		t.Errorf("namespaces: %v\n%s", err, diff)
	}
	if selector, err := o.picked(); err != nil || selector.String() != "team=a" {
		t.Errorf("selector: %v, %v", selector, err)
	}
}

func TestSealOptionsRefuse(t *testing.T) {
	for _, bad := range []sealOptions{{selector: "a in"}, {namespaces: "A_b"}} {
		_, err := bad.picked()
		if _, err2 := bad.watched("own"); err == nil && err2 == nil {
			t.Errorf("%+v: no error", bad)
		}
	}
	all := sealOptions{allNamespaces: true}
	if watched, err := all.watched("own"); watched != nil || err != nil {
		t.Errorf("all namespaces are %v, %v", watched, err)
	}
	if _, err := parse([]string{"--namespace", "own", "--rate-limit", "fast"}); err == nil || !strings.Contains(err.Error(), "rate-limit") {
		t.Errorf("a rate that is no number: %v", err)
	}
}
