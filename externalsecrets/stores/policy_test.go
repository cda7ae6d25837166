package stores

import (
	"errors"
	"testing"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// TestKeyPolicyOfVault has a namespace that is called like the mount of the
// engine, which Vault takes off a key.
func TestKeyPolicyOfVault(t *testing.T) {
	for text, cases := range map[string]map[string]error{
		"vault: {server: 'https://v', path: secret/}":    {"secret/secret/db": nil, "secret/db": ErrKeyPolicy, "secret/team-b/db": ErrKeyPolicy, "secret/data/team-b/db": ErrKeyPolicy, "secret/data/secret/db": nil, "other/db": ErrKeyPolicy},
		"openBao: {server: 'https://v', path: secret}":   {"secret/secret/db": nil, "/secret/team-b/db": ErrKeyPolicy},
		"vault: {server: 'https://v'}":                   {"secret/db": nil, "other/db": ErrKeyPolicy},
		"aws: {service: SecretsManager, region: eu-1-1}": {"secret/db": nil, "other/db": ErrKeyPolicy},
	} {
		store := &esv1.ClusterSecretStore{Spec: esv1.StoreSpec{Provider: provider(t, text)}}
		store.Annotations = map[string]string{AnnotationKeyPolicy: `[{prefixes: ["{{namespace}}/"]}]`}
		for key, want := range cases {
			if err := permits(store, "secret", key, false); !errors.Is(err, want) {
				t.Errorf("%s: key %s: got %v, want %v", text, key, err, want)
			}
		}
	}
}

func TestKeyPolicy(t *testing.T) {
	const policy = `
- prefixes: ["{{namespace}}/", "shared/"]
- namespaces: [team-*]
  prefixes: [teams/]
`
	cases := map[string]struct {
		reason, policy, namespace, key string
		find                           bool
		want                           error
	}{
		"Own":       {reason: "A namespace has its own prefix.", policy: policy, namespace: "a", key: "a/db"},
		"Shared":    {reason: "And one that all have.", policy: policy, namespace: "a", key: "shared/db"},
		"Pattern":   {reason: "Patterns name several namespaces.", policy: policy, namespace: "team-b", key: "teams/db"},
		"NotNamed":  {reason: "And not the others.", policy: policy, namespace: "a", key: "teams/db", want: ErrKeyPolicy},
		"Other":     {reason: "Another's prefix is refused.", policy: policy, namespace: "a", key: "b/db", want: ErrKeyPolicy},
		"Longer":    {reason: "So is a namespace that begins alike.", policy: policy, namespace: "a", key: "ab/db", want: ErrKeyPolicy},
		"Out":       {reason: "A path does not lead out.", policy: policy, namespace: "a", key: "a/../b/db", want: ErrKeyPolicy},
		"Escaped":   {reason: "Nor an escaped one.", policy: policy, namespace: "a", key: "a/%2e%2e/b/db", want: ErrKeyPolicy},
		"Query":     {reason: "Nor a query.", policy: policy, namespace: "a", key: "a/?x=../b", want: ErrKeyPolicy},
		"Find":      {reason: "A search stays below a prefix.", policy: policy, namespace: "a", key: "a/x", find: true},
		"FindAll":   {reason: "A search of everything is refused.", policy: policy, namespace: "a", find: true, want: ErrKeyPolicy},
		"Empty":     {reason: "A prefix of nothing lets nobody in.", policy: `[{prefixes: [""]}]`, namespace: "a", key: "a", want: ErrKeyPolicy},
		"NoRules":   {reason: "Nor does a policy without rules.", policy: "[]", namespace: "a", key: "a", want: ErrKeyPolicy},
		"Malformed": {reason: "Nor one that cannot be read.", policy: "{", namespace: "a", key: "a", want: providers.ErrInvalid},
		"Unknown":   {reason: "Nor one with a typing error.", policy: `[{prefix: [a]}]`, namespace: "a", key: "a", want: providers.ErrInvalid},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			store := &esv1.ClusterSecretStore{}
			store.Annotations = map[string]string{AnnotationKeyPolicy: tc.policy}
			if err := permits(store, tc.namespace, tc.key, tc.find); !errors.Is(err, tc.want) {
				t.Errorf("%s\ngot %v, want %v", tc.reason, err, tc.want)
			}
			if err := permits(&esv1.ClusterSecretStore{}, tc.namespace, tc.key, tc.find); err != nil {
				t.Errorf("without a policy: %v", err)
			}
		})
	}
}
