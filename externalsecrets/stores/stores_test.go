package stores

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

func provider(t *testing.T, text string) *esv1.SecretStoreProvider {
	t.Helper()
	p := &esv1.SecretStoreProvider{}
	if err := yaml.Unmarshal([]byte(text), p); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSelectors(t *testing.T) {
	p := provider(t, `
vault:
  server: https://v
  caProvider: {type: ConfigMap, name: ca, key: ca.crt, namespace: certs}
  auth:
    tokenSecretRef: {name: token, key: token}
    kubernetes: {role: r, serviceAccountRef: {name: sa, namespace: apps}}
`)
	want := []selector{
		{field: "spec.provider.vault.caProvider", kind: kindConfigMap, namespace: new("certs"), name: "ca", authority: true},
		{field: "spec.provider.vault.auth.tokenSecretRef", kind: kindSecret, name: "token"},
		{field: "spec.provider.vault.auth.kubernetes.serviceAccountRef", kind: kindServiceAccount, namespace: new("apps"), name: "sa"},
	}
	byField := cmpopts.SortSlices(func(a, b selector) bool { return a.field < b.field })
	if diff := cmp.Diff(want, selectors(p), cmp.AllowUnexported(selector{}), byField); diff != "" {
		t.Errorf("every reference is found (-want +got):\n%s", diff)
	}
	if !usesReferent(p) {
		t.Error("a reference without a namespace: usesReferent is false")
	}
	p.Vault.Auth.TokenSecretRef.Namespace = new("apps")
	if usesReferent(p) {
		t.Error("all references have a namespace: usesReferent is true")
	}
	if !usesReferent(provider(t, "example: {}")) {
		t.Error("a provider that has no type here: usesReferent is false")
	}
	if got := selectors(nil); got != nil {
		t.Errorf("no provider: got %v", got)
	}
}

func TestScope(t *testing.T) {
	cases := map[string]struct {
		reason string
		scope  scope
		wanted *string
		want   string
		err    error
	}{
		"Own":             {reason: "A SecretStore reads its own namespace.", scope: scope{own: "a"}, want: "a"},
		"OwnNamed":        {reason: "It may name it.", scope: scope{own: "a"}, wanted: new("a"), want: "a"},
		"Other":           {reason: "It may name no other.", scope: scope{own: "a"}, wanted: new("b"), err: providers.ErrInvalid},
		"OtherReferent":   {reason: "Nor does it see that of who uses it.", scope: scope{own: "a", referent: "b"}, want: "a"},
		"Cluster":         {reason: "A ClusterSecretStore reads the namespace that it names.", scope: scope{referent: "a"}, wanted: new("b"), want: "b"},
		"ClusterReferent": {reason: "Otherwise that of who uses it.", scope: scope{referent: "a"}, want: "a"},
		"ClusterNobody":   {reason: "With neither, it reads nothing.", scope: scope{}, err: errReferent},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := tc.scope.namespace("spec.x", tc.wanted)
			if got != tc.want || !errors.Is(err, tc.err) {
				t.Errorf("%s\nnamespace: got %q, %v, want %q, %v", tc.reason, got, err, tc.want, tc.err)
			}
			if err != nil && !strings.Contains(err.Error(), "spec.x") {
				t.Errorf("%s\nnamespace: %v does not name the field", tc.reason, err)
			}
		})
	}
}

func TestAdmits(t *testing.T) {
	labelled := func() (map[string]string, error) { return map[string]string{"team": "a"}, nil }
	selects := func(team string) []esv1.StoreCondition {
		return []esv1.StoreCondition{{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": team}}}}
	}
	cases := map[string]struct {
		reason     string
		conditions []esv1.StoreCondition
		err        error
	}{
		"None":        {reason: "No conditions admit all."},
		"Name":        {reason: "A namespace is admitted by name.", conditions: []esv1.StoreCondition{{Namespaces: []string{"other", "team-a"}}}},
		"OtherName":   {reason: "Another is not.", conditions: []esv1.StoreCondition{{Namespaces: []string{"team"}}}, err: ErrNotAdmitted},
		"Regex":       {reason: "Or by an expression.", conditions: []esv1.StoreCondition{{NamespaceRegexes: []string{"team-."}}}},
		"RegexWhole":  {reason: "That must match the whole name.", conditions: []esv1.StoreCondition{{NamespaceRegexes: []string{"team", "eam-a", "x|team"}}}, err: ErrNotAdmitted},
		"RegexBroken": {reason: "One that is none is refused.", conditions: []esv1.StoreCondition{{NamespaceRegexes: []string{"("}}}, err: providers.ErrInvalid},
		"Labels":      {reason: "Or by labels.", conditions: selects("a")},
		"OtherLabels": {reason: "Not by others.", conditions: selects("b"), err: ErrNotAdmitted},
		"Any":         {reason: "Any condition is enough.", conditions: append(selects("b"), esv1.StoreCondition{Namespaces: []string{"team-a"}})},
		"Empty":       {reason: "A condition without fields admits nobody.", conditions: []esv1.StoreCondition{{}}, err: ErrNotAdmitted},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if err := admits(tc.conditions, "team-a", labelled); !errors.Is(err, tc.err) {
				t.Errorf("%s\nadmits: got %v, want %v", tc.reason, err, tc.err)
			}
		})
	}
}
