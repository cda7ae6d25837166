package push_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/aws"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/gcp"
	"github.com/lockstep-dev/lockstep/providers/kubernetes"
	vaultbackend "github.com/lockstep-dev/lockstep/providers/vault"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

var (
	bao = testenv.Share(func(t testing.TB) (*testenv.Vault, error) {
		return testenv.StartVault(t.Context(), testenv.VaultOptions{})
	})
	amazon = testenv.Share(func(t testing.TB) (*testenv.AWS, error) { return testenv.StartAWS(t.Context(), testenv.AWSOptions{}) })
	google = testenv.Share(func(t testing.TB) (*testenv.GCP, error) { return testenv.StartGCP(t.Context(), testenv.GCPOptions{}) })
)

const region = "eu-central-1"

// service is a real one: how to get in, and what it holds.
type service struct {
	name, backend    string         // the key of spec.provider
	settings         map[string]any // of spec.provider.BACKEND, with a right to everything
	denied           map[string]any // with a right to nothing
	metadata         string         // of a PushSecret
	put              func(key, object string) error
	secrets, refused map[string]string // that settings and denied refer to, by key
}

// services are all that can be written, by name.
var services = map[string]func(*testing.T, *bench) service{
	"OpenBao":        openBao,
	"SecretsManager": func(t *testing.T, _ *bench) service { return secretsManager(t, "SecretsManager") },
	"ParameterStore": func(t *testing.T, _ *bench) service { return secretsManager(t, "ParameterStore") },
	"GoogleCloud":    secretManager,
	"Kubernetes":     otherNamespace,
}

// registry has the real providers, with the test's servers.
func registry(t *testing.T) providers.Registry {
	t.Helper()
	a, g := amazon.Get(t), google.Get(t)
	return providers.Registry{
		"vault": vaultbackend.Open, "kubernetes": kubernetes.Open,
		"aws":   aws.New(aws.Endpoints{SecretsManager: a.Address(), ParameterStore: a.Address(), STS: a.Address(), CA: a.CA}),
		"gcpsm": gcp.New(gcp.Endpoints{SecretManager: g.Host(), STS: g.Address(), IAM: g.Address(), CA: g.CA}),
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ref(name, key string) map[string]string { return map[string]string{"name": name, "key": key} }

func openBao(t *testing.T, b *bench) service {
	t.Helper()
	ns := b.ns
	v := bao.Get(t)
	token, err := v.Token(t.Context(), testenv.VaultRole{Name: "push-" + ns, Policy: `path "secret/*" { capabilities = ["create", "read", "update", "delete", "list"] }`})
	must(t, err)
	none, err := v.Token(t.Context(), testenv.VaultRole{Name: "none-" + ns, Policy: testenv.Allow("secret/data/elsewhere/*")})
	must(t, err)
	with := func(secret string) map[string]any {
		return map[string]any{"server": v.Address(), "path": "secret", "caBundle": v.CA, "auth": map[string]any{"tokenSecretRef": ref(secret, "token")}}
	}
	return service{name: "openbao", backend: "vault", settings: with("in"), denied: with("out"),
		secrets: map[string]string{"token": token}, refused: map[string]string{"token": none},
		put: func(key, object string) error {
			var data map[string]any
			if err := json.Unmarshal([]byte(object), &data); err != nil {
				return err
			}
			_, err := v.Put(t.Context(), key, data)
			return err
		}}
}

func secretsManager(t *testing.T, kind string) service {
	t.Helper()
	a := amazon.Get(t)
	key, err := a.User(t.Context(), "pusher")
	must(t, err)
	none, err := a.User(t.Context(), "onlooker", testenv.AWSStatement{Actions: []string{"secretsmanager:ListSecrets"}})
	must(t, err)
	with := func(secret string) map[string]any {
		return map[string]any{"service": kind, "region": region, "auth": map[string]any{"secretRef": map[string]any{
			"accessKeyIDSecretRef": ref(secret, "id"), "secretAccessKeySecretRef": ref(secret, "secret")}}}
	}
	s := service{name: strings.ToLower(kind), backend: "aws",
		settings: with("in"), denied: with("out"), metadata: `{"secretPushFormat":"string","tags":{"team":"a"}}`,
		secrets: map[string]string{"id": key.ID, "secret": key.Secret}, refused: map[string]string{"id": none.ID, "secret": none.Secret},
		put: func(key, object string) error { _, err := a.PutSecret(t.Context(), region, key, object); return err }}
	if kind == "ParameterStore" {
		s.metadata = `{"secretType":"SecureString","tags":{"team":"a"}}`
		s.put = func(key, object string) error { _, err := a.PutParameter(t.Context(), region, key, object); return err }
	}
	return s
}

func secretManager(t *testing.T, b *bench) service {
	t.Helper()
	ns := b.ns
	g := google.Get(t)
	key, err := g.Key(t.Context(), testenv.GCPPrincipal{Name: "pusher-" + ns + "@team.iam.gserviceaccount.com"})
	must(t, err)
	none, err := g.Key(t.Context(), testenv.GCPPrincipal{Name: "onlooker-" + ns + "@team.iam.gserviceaccount.com", Allow: []string{"elsewhere"}})
	must(t, err)
	with := func(secret string) map[string]any {
		return map[string]any{"projectID": "team", "auth": map[string]any{"secretRef": map[string]any{"secretAccessKeySecretRef": ref(secret, "key.json")}}}
	}
	return service{name: "gcp", backend: "gcpsm",
		settings: with("in"), denied: with("out"), metadata: `{"labels":{"team":"a"},"replicationLocations":["europe-west3"]}`,
		secrets: map[string]string{"key.json": string(key)}, refused: map[string]string{"key.json": string(none)},
		put: func(key, object string) error {
			_, err := g.PutSecret(t.Context(), testenv.GCPSecret{Parent: "projects/team", ID: key, Value: &object})
			return err
		}}
}

// otherNamespace is that of another cluster, as far as a store can tell.
func otherNamespace(t *testing.T, b *bench) service {
	t.Helper()
	cp := cluster.Get(t)
	there := cp.Namespace(t)
	meta := metav1.ObjectMeta{Namespace: there, Name: "pusher"}
	must(t, b.Create(t.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"*"}}}}))
	must(t, b.Create(t.Context(), &rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "pusher"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: there, Name: "pusher"}}}))
	token := func(name string) string {
		text, err := cp.Token(t.Context(), there, name)
		must(t, err)
		return text
	}
	with := func(secret string) map[string]any {
		return map[string]any{"server": map[string]any{"url": cp.Issuer(), "caBundle": cp.CA()}, "remoteNamespace": there,
			"auth": map[string]any{"token": map[string]any{"bearerToken": ref(secret, "token")}}}
	}
	return service{name: "kubernetes", backend: "kubernetes", settings: with("in"), denied: with("out"), metadata: `{"labels":{"team":"a"}}`,
		secrets: map[string]string{"token": token("pusher")}, refused: map[string]string{"token": token("onlooker")},
		put: func(key, object string) error {
			s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: there, Name: key}}
			if err := json.Unmarshal([]byte(object), &s.StringData); err != nil {
				return err
			}
			return b.Create(t.Context(), s)
		}}
}

// config is that of a store, for a test to look into the service by itself.
func (s service) config(t *testing.T) providers.Config {
	t.Helper()
	text, err := json.Marshal(map[string]any{s.backend: s.settings})
	must(t, err)
	p := &esv1.SecretStoreProvider{}
	must(t, json.Unmarshal(text, p))
	refs := &conformance.References{}
	for key, value := range s.secrets {
		refs.Set("in", key, value)
	}
	return providers.Config{Provider: p, References: refs}
}

// create makes two stores, and the Secrets with their credentials.
func (s service) create(b *bench) {
	b.t.Helper()
	for name, data := range map[string]map[string]string{"in": s.secrets, "out": s.refused} {
		must(b.t, b.Create(b.t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: name}, StringData: data}))
	}
	for name, settings := range map[string]map[string]any{"store": s.settings, "denied": s.denied} {
		text, err := json.Marshal(map[string]any{"metadata": map[string]any{"name": name}, "spec": map[string]any{"provider": map[string]any{s.backend: settings}}})
		must(b.t, err)
		b.apply(string(text), &esv1.SecretStore{})
	}
}

// key is how the service spells the name of a secret of this run.
func (s service) key(ns, name string) string {
	if s.name == "parameterstore" {
		return fmt.Sprintf("/%s/%s", ns, name)
	}
	return ns + "-" + name
}
