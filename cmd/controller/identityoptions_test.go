package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockstep-dev/lockstep/externalsecrets/stores"
)

func TestIdentityOptions(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want stores.Identity
	}{
		"Default": {want: stores.Identity{}},
		"Listed":  {args: []string{"--ambient-credentials-namespaces=team-a, shared-*", "--ambient-credentials-namespaces=b"}, want: stores.Identity{AmbientNamespaces: []string{"team-a", "shared-*", "b"}}},
		"Local":   {args: []string{"--allow-link-local"}, want: stores.Identity{LinkLocal: true}},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := parse(append([]string{"--namespace=lockstep-system"}, tc.args...))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, o.identity); diff != "" {
				t.Errorf("parse %q (-want +got):\n%s", tc.args, diff)
			}
		})
	}
}

// TestBackends wants a backend for each provider that has a field.
func TestBackends(t *testing.T) {
	o, err := parse([]string{"--namespace=lockstep-system"})
	if err != nil {
		t.Fatal(err)
	}
	all := backends(o)
	for _, name := range []string{"aws", "vault", "openBao", "gcpsm", "kubernetes", "webhook", "fake"} {
		if all[name] == nil {
			t.Errorf("there is no backend %s", name)
		}
	}
}
