package stores_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
)

const azure = `
provider:
  azurekv:
    tenantId: t
    vaultUrl: https://kv.example.com
    authSecretRef: {clientId: {name: n, key: k}, more: [1, 2.5, {deep: true}]}
`

// TestProviderOfOthers applies stores of a provider that is not served, in
// each version and scope: every field stays, and a condition says what there
// is instead.
func TestProviderOfOthers(t *testing.T) {
	b := start(t)
	var want map[string]any
	if err := yaml.Unmarshal([]byte(azure), &want); err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"v1", "v1beta1"} {
		for kind, store := range map[string]esv1.GenericStore{esv1.SecretStoreKind: &esv1.SecretStore{}, esv1.ClusterSecretStoreKind: &esv1.ClusterSecretStore{}} {
			t.Run(kind+"/"+version, func(t *testing.T) {
				id := client.ObjectKey{Namespace: b.ns, Name: b.ns + "-azure-" + version}
				if kind == esv1.ClusterSecretStoreKind {
					id.Namespace = ""
				}
				applied := raw(kind, version, id)
				applied.Object["spec"] = want
				if err := b.Create(t.Context(), applied, client.FieldValidation("Strict")); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = b.Delete(context.WithoutCancel(t.Context()), applied) }) // with the namespace, or now
				obj := store.(client.Object)
				obj.SetName(id.Name)
				obj.SetNamespace(id.Namespace)
				message := b.status(store, "False/InvalidStoreConfiguration/spec.provider")
				for _, part := range []string{`"azurekv"`, "only vault"} {
					if !strings.Contains(message, part) {
						t.Errorf("condition %q: want %q in it", message, part)
					}
				}
				for _, other := range []string{"v1", "v1beta1"} {
					got := raw(kind, other, id)
					if err := b.Get(t.Context(), id, got); err != nil {
						t.Fatal(err)
					}
					kept, _, _ := unstructured.NestedMap(got.Object, "spec", "provider", "azurekv") // a missing one is a difference
					all, _, _ := unstructured.NestedMap(applied.Object, "spec", "provider", "azurekv")
					if diff := cmp.Diff(all, kept); diff != "" || len(kept) == 0 {
						t.Errorf("read as %s (-applied +kept):\n%s", other, diff)
					}
				}
			})
		}
	}
}

func raw(kind, version string, id client.ObjectKey) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetAPIVersion("external-secrets.io/" + version)
	u.SetKind(kind)
	u.SetName(id.Name)
	u.SetNamespace(id.Namespace)
	return u
}

// TestOpenBaoStore applies a store of the provider openBao, as External
// Secrets has it.
func TestOpenBaoStore(t *testing.T) {
	b := start(t)
	obj := raw(esv1.SecretStoreKind, "v1", client.ObjectKey{Namespace: b.ns, Name: "bao"})
	var spec map[string]any
	if err := yaml.Unmarshal([]byte(`
provider:
  openBao:
    server: https://openbao.example.com:8200
    path: secret
    version: v2
    namespace: ns1
    caProvider: {type: ConfigMap, name: ca, key: ca.crt}
    auth:
      namespace: ns2
      kubernetes: {mountPath: kubernetes, role: app, serviceAccountRef: {name: app, audiences: [openbao]}}
`), &spec); err != nil {
		t.Fatal(err)
	}
	obj.Object["spec"] = spec
	if err := b.Create(t.Context(), obj, client.FieldValidation("Strict")); err != nil {
		t.Fatalf("a manifest of External Secrets: %v", err)
	}
	store := &esv1.SecretStore{}
	store.Name, store.Namespace = "bao", b.ns
	// Its references are looked up before the store is opened.
	if got := b.status(store, "False/InvalidProviderConfig/"); !strings.Contains(got, "spec.provider.openBao.") {
		t.Errorf("condition: %s", got)
	}
	if name, err := store.Spec.Provider.Name(); name != esv1.ProviderOpenBao || err != nil || store.Spec.Provider.OpenBao.Auth.Kubernetes.Role != "app" {
		t.Errorf("provider: got %q, %v", name, err)
	}
}
