package pull_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/providers"
)

// guarded opens b as a service that takes any credentials at first, and lets
// only who has the right ones read.
func (b *backend) guarded(ctx context.Context, c providers.Config) (providers.Reader, error) {
	p, opened := c.Provider.Vault, guard{backend: b}
	if p.CAProvider != nil {
		if _, err := c.References.CA(ctx, *p.CAProvider); err != nil {
			return nil, err
		}
	}
	if ref := p.Auth.TokenSecretRef; ref != nil {
		token, err := c.References.Secret(ctx, *ref)
		if err != nil {
			return nil, err
		}
		opened.token = string(token.Bytes())
	}
	if k := p.Auth.Kubernetes; k != nil {
		annotations, err := c.References.Annotations(ctx, *k.ServiceAccountRef)
		if err != nil {
			return nil, err
		}
		opened.token = annotations["token"]
	}
	return opened, nil
}

type guard struct {
	*backend

	token string
}

// Read implements providers.Reader.
func (g guard) Read(ctx context.Context, ref providers.Ref) (providers.Value, error) {
	if g.token != "right" {
		return providers.Value{}, fmt.Errorf("test backend: %w", providers.ErrDenied)
	}
	return g.backend.Read(ctx, ref)
}

// Manifests of TestWakesUp; NAME is that of the row, and NS the namespace.
const (
	vaultStore  = "metadata: {name: NAME}\nspec: {provider: {vault: {server: 'https://vault', auth: {tokenSecretRef: {name: NAME, key: token}}}}}"
	vaultShared = "metadata: {name: NS-NAME}\nspec: {provider: {vault: {server: 'https://vault', auth: {tokenSecretRef: {name: NAME, key: token}}}}}"
	vaultPerson = "metadata: {name: NAME}\nspec: {provider: {vault: {server: 'https://vault', auth: {kubernetes: {mountPath: kubernetes, role: r, serviceAccountRef: {name: NAME}}}}}}"
	vaultSigned = "metadata: {name: NAME}\nspec: {provider: {vault: {server: 'https://vault', caProvider: {type: ConfigMap, name: NAME, key: ca}, auth: {tokenSecretRef: {name: always, key: token}}}}}"
	ofOwnStore  = "secretStoreRef: {name: NAME}" + oneKey
	ofShared    = "secretStoreRef: {kind: ClusterSecretStore, name: NS-NAME}" + oneKey
	tokenRight  = "metadata: {name: NAME}\nstringData: {token: right}"
	tokenWrong  = "metadata: {name: NAME}\nstringData: {token: wrong}"
)

// sleeper is an ExternalSecret that fails, and what it waits for.
type sleeper struct {
	before func(b *bench)
	spec   string
	want   string // in the message
	mend   func(b *bench)
}

// makes applies manifests, of the kind of each object.
func makes(texts map[string]client.Object) func(b *bench) {
	return func(b *bench) {
		b.t.Helper()
		for text, into := range texts {
			b.apply(b.named(text), into.DeepCopyObject().(client.Object))
		}
	}
}

// named puts the row's name and the namespace into a manifest.
func (b *bench) named(text string) string {
	return strings.NewReplacer("NAME", b.row(), "NS", b.ns).Replace(text)
}

func (b *bench) row() string {
	_, row, _ := strings.Cut(b.t.Name(), "/")
	return strings.ToLower(row)
}

// merges patches the object of the row's name.
func merges(into client.Object, patch string) func(b *bench) {
	return func(b *bench) {
		b.t.Helper()
		o := into.DeepCopyObject().(client.Object)
		o.SetNamespace(b.ns)
		o.SetName(b.row())
		if err := b.Patch(b.t.Context(), o, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
			b.t.Fatal(err)
		}
	}
}

func none(*bench) {}

// sleepers has what an ExternalSecret can wait for.
func sleepers(webhook string) map[string]sleeper {
	secret, store, shared := &corev1.Secret{}, &esv1.SecretStore{}, &esv1.ClusterSecretStore{}
	hook := fmt.Sprintf("metadata: {name: NAME}\nspec: {url: %q, headers: {Authorization: '{{ .auth.token }}'}, result: {jsonPath: $}, secrets: [{name: auth, secretRef: {name: NAME}}]}", webhook)
	right, wrong := `{"stringData":{"token":"right"}}`, map[string]client.Object{tokenWrong: secret}
	return map[string]sleeper{
		"StoreMissing": {none, ofOwnStore, "does not exist: create it", makes(map[string]client.Object{"metadata: {name: NAME}\nspec: {provider: {example: {}}}": store})},
		"StoreWrong": {makes(map[string]client.Object{"metadata: {name: NAME}\nspec: {retrySettings: {maxRetries: -1}, provider: {example: {}}}": store}), ofOwnStore, "spec.retrySettings.maxRetries",
			merges(store, `{"spec":{"retrySettings":null}}`)},

		"SecretMissing":       {makes(map[string]client.Object{vaultStore: store}), ofOwnStore, "create it, or correct the reference", makes(map[string]client.Object{tokenRight: secret})},
		"SecretWithoutKey":    {makes(map[string]client.Object{vaultStore: store, "metadata: {name: NAME}": secret}), ofOwnStore, `has no key "token"`, merges(secret, right)},
		"SecretWrong":         {makes(map[string]client.Object{vaultStore: store, tokenWrong: secret}), ofOwnStore, "does not let us read", merges(secret, right)},
		"SharedSecretMissing": {makes(map[string]client.Object{vaultShared: shared}), ofShared, "create it, or correct the reference", makes(map[string]client.Object{tokenRight: secret})},
		"SharedSecretWrong":   {makes(map[string]client.Object{vaultShared: shared, tokenWrong: secret}), ofShared, "does not let us read", merges(secret, right)},
		"AccountMissing": {makes(map[string]client.Object{vaultPerson: store}), ofOwnStore, "create it, or correct the reference",
			makes(map[string]client.Object{"metadata: {name: NAME, annotations: {token: right}}": &corev1.ServiceAccount{}})},
		"AccountWrong": {makes(map[string]client.Object{vaultPerson: store, "metadata: {name: NAME}": &corev1.ServiceAccount{}}), ofOwnStore, "does not let us read",
			merges(&corev1.ServiceAccount{}, `{"metadata":{"annotations":{"token":"right"}}}`)},
		"AuthorityMissing": {makes(map[string]client.Object{vaultSigned: store, "metadata: {name: always}\nstringData: {token: right}": secret}), ofOwnStore, "create it, or correct the reference",
			makes(map[string]client.Object{"metadata: {name: NAME}\ndata: {ca: pem}": &corev1.ConfigMap{}})},

		"KeyMissing": {none, "secretStoreRef: {name: store}\ndata: [{secretKey: ours, remoteRef: {key: late}}]", `has no secret "late"`, func(b *bench) {
			b.backend.set("late", "value")
			b.puller.Due(b.t.Context(), esv1.SecretStoreKind, b.ns, "store", []string{"late"})
		}},
		"TemplateConfigMap": {none, "secretStoreRef: {name: store}\ntarget: {template: {templateFrom: [{configMap: {name: NAME, items: [{key: ours}]}}]}}" + oneKey, "does not exist",
			makes(map[string]client.Object{"metadata: {name: NAME}\ndata: {ours: '{{ .ours }}'}": &corev1.ConfigMap{}})},
		"TemplateSecret": {none, "secretStoreRef: {name: store}\ntarget: {template: {templateFrom: [{secret: {name: NAME-form, items: [{key: ours}]}}]}}" + oneKey, "does not exist",
			makes(map[string]client.Object{"metadata: {name: NAME-form}\nstringData: {ours: '{{ .ours }}'}": secret})},
		"NamespaceLabel": {makes(map[string]client.Object{"metadata: {name: NS-NAME}\nspec: {provider: {example: {}}, conditions: [{namespaceSelector: {matchLabels: {admitted: 'NS'}}}]}": shared}), ofShared,
			"namespace is not admitted", func(b *bench) {
				ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: b.ns}}
				if err := b.Patch(b.t.Context(), ns, client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"metadata":{"labels":{"admitted":%q}}}`, b.ns))); err != nil {
					b.t.Fatal(err)
				}
			}},

		"GeneratorMissing": {none, "dataFrom: [{sourceRef: {generatorRef: {kind: Fake, name: NAME}}}]", "does not exist in this namespace", makes(map[string]client.Object{"metadata: {name: NAME}\nspec: {data: {ours: value}}": &genv1.Fake{}})},
		"GeneratorSecretMissing": {makes(map[string]client.Object{hook: &genv1.Webhook{}}), "dataFrom: [{sourceRef: {generatorRef: {kind: Webhook, name: NAME}}}]", "create it, or correct the reference",
			makes(map[string]client.Object{tokenRight: secret})},
		"GeneratorSecretWrong": {func(b *bench) { makes(map[string]client.Object{hook: &genv1.Webhook{}})(b); makes(wrong)(b) },
			"dataFrom: [{sourceRef: {generatorRef: {kind: Webhook, name: NAME}}}]", `Webhook "generatorsecretwrong"`, merges(secret, right)},
	}
}

// TestWakesUp: what failed for want of something is read when that is there, and
// not when its next try is due, which is 15 s later at the soonest.
func TestWakesUp(t *testing.T) {
	b := start(t)
	b.backend.set("db", "value")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "right" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		fmt.Fprint(w, `{"ours":"value"}`)
	}))
	defer server.Close()
	for name, s := range sleepers(server.URL) {
		t.Run(name, func(t *testing.T) {
			b := b.in(t)
			s.before(b)
			b.whole(b.row()+"-es", b.named("refreshInterval: 1h\n"+s.spec))
			if message := b.ready(b.row()+"-es", "False/SecretSyncedError/").GetConditions()[0].Message; !strings.Contains(message, s.want) {
				t.Errorf("message: got %q, want %q in it", message, s.want)
			}
			s.mend(b)
			b.ready(b.row()+"-es", "True/SecretSynced")
			b.holds(b.row()+"-es", `{"ours":"value"}`)
		})
	}
}
