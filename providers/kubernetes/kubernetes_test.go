package kubernetes_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/kubernetes"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

var cluster = testenv.Share(func(t testing.TB) (*testenv.ControlPlane, error) {
	return testenv.StartControlPlane(t.Context(), testenv.Options{})
})

func TestMain(m *testing.M) { testenv.Main(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// store makes the config of a store with the settings of a provider as JSON.
func store(t *testing.T, settings map[string]any, refs providers.References) providers.Config {
	t.Helper()
	text, err := json.Marshal(map[string]any{"kubernetes": settings})
	must(t, err)
	var p esv1.SecretStoreProvider
	must(t, json.Unmarshal(text, &p))
	return providers.Config{Provider: &p, References: refs}
}

// remote is a namespace whose ServiceAccount reader may use some Secrets.
type remote struct {
	cp        *testenv.ControlPlane
	admin     client.Client
	namespace string
	refs      *conformance.References
}

func newRemote(t *testing.T, names ...string) *remote {
	t.Helper()
	cp := cluster.Get(t)
	admin, err := client.New(cp.RestConfig(), client.Options{})
	must(t, err)
	r := &remote{cp: cp, admin: admin, namespace: cp.Namespace(t)}
	meta := metav1.ObjectMeta{Namespace: r.namespace, Name: "reader"}
	must(t, admin.Create(t.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"list", "create"}},
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get", "update", "delete"}, ResourceNames: names},
	}}))
	must(t, admin.Create(t.Context(), &rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "reader"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: r.namespace, Name: "reader"}}}))
	r.refs = &conformance.References{Authority: cp.CA(), TokenFn: func(ctx context.Context, account string, audiences []string) (string, error) {
		return cp.Token(ctx, r.namespace, account, audiences...)
	}}
	return r
}

// settings are those of a store that reads as the ServiceAccount reader.
func (r *remote) settings() map[string]any {
	return map[string]any{
		"server": map[string]any{"url": r.cp.Issuer(), "caBundle": r.cp.CA()}, "remoteNamespace": r.namespace,
		"auth": map[string]any{"serviceAccount": map[string]any{"name": "reader", "audiences": []string{r.cp.Issuer()}}},
	}
}

// put stores data in a Secret.
func (r *remote) put(ctx context.Context, name string, data map[string][]byte, labels map[string]string) error {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: name}}
	err := r.admin.Get(ctx, client.ObjectKeyFromObject(s), s)
	if data != nil {
		s.Data = data
	}
	if labels != nil {
		s.Labels = labels
	}
	if apierrors.IsNotFound(err) {
		return r.admin.Create(ctx, s)
	}
	if err != nil {
		return err
	}
	return r.admin.Update(ctx, s)
}

func TestConformance(t *testing.T) {
	conformance.Test(t, func(t *testing.T) conformance.Backend {
		t.Helper()
		var names []string
		for name := range strings.FieldsSeq("one none owner concurrent-0 concurrent-1 concurrent-2 concurrent-3 find-red find-blue other written properties foreign deleted never") {
			names = append(names, "conformance-"+name)
		}
		r := newRemote(t, names...)
		reader, err := kubernetes.Open(t.Context(), store(t, r.settings(), r.refs))
		must(t, err)
		return conformance.Backend{
			Reader: reader, Denied: "elsewhere/denied", Text: true,
			Path: func(path string) string { return strings.ReplaceAll(path, "/", "-") },
			Put: func(ctx context.Context, path, object string) (string, error) {
				var text map[string]string
				if err := json.Unmarshal([]byte(object), &text); err != nil {
					return "", err
				}
				data := map[string][]byte{}
				for key, value := range text {
					data[key] = []byte(value)
				}
				return "", r.put(ctx, path, data, nil)
			},
			Tag: func(ctx context.Context, path string, tags map[string]string) error {
				return r.put(ctx, path, nil, tags)
			},
		}
	})
}

// wantRead fails t unless the Secret app reads as the canary.
func wantRead(t *testing.T, config providers.Config, c *testenv.Canary) {
	t.Helper()
	reader, err := kubernetes.Open(t.Context(), config)
	must(t, err)
	v, err := reader.Read(t.Context(), providers.Ref{Path: "app"})
	if want := fmt.Sprintf(`{"password":%q}`, c.Value()); err != nil || string(v.Bytes()) != want {
		t.Errorf("Read: got another value, or %v", err)
	}
}

func TestWaysIn(t *testing.T) {
	r := newRemote(t, "app")
	canary := testenv.NewCanary(t)
	must(t, r.put(t.Context(), "app", map[string][]byte{"password": []byte(canary.Value())}, nil))
	token, err := r.cp.Token(t.Context(), r.namespace, "reader")
	must(t, err)
	kubeconfig := func(user string) string {
		return fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n"+
			"clusters: [{name: k, cluster: {server: %q, certificate-authority-data: %s}}]\nusers: [{name: u, user: %s}]\n", r.cp.Issuer(), base64.StdEncoding.EncodeToString(r.cp.CA()), user)
	}
	user, err := r.cp.User("app-reader", "system:masters")
	must(t, err)
	r.refs.Set("k", "token", token+"\n")
	r.refs.Set("k", "tls.crt", string(user.CertData))
	r.refs.Set("k", "tls.key", string(user.KeyData))
	r.refs.Set("k", "config", kubeconfig("{token: "+token+"}"))
	r.refs.Set("k", "exec", kubeconfig("{exec: {command: /bin/sh}}"))
	r.refs.Set("k", "file", kubeconfig("{tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token}"))
	for name, auth := range map[string]map[string]any{
		"ServiceAccount": r.settings()["auth"].(map[string]any),
		"Token":          {"token": map[string]any{"bearerToken": map[string]string{"name": "k"}}},
		"Cert":           {"cert": map[string]any{"clientCert": map[string]string{"name": "k"}, "clientKey": map[string]string{"name": "k"}}},
	} {
		t.Run(name, func(t *testing.T) {
			with := r.settings()
			with["auth"] = auth
			wantRead(t, store(t, with, r.refs), canary)
		})
	}
	byConfig := func(key string) providers.Config {
		return store(t, map[string]any{"remoteNamespace": r.namespace, "authRef": map[string]string{"name": "k", "key": key}}, r.refs)
	}
	wantRead(t, byConfig("config"), canary)
	for _, key := range []string{"exec", "file", "token"} {
		if _, err := kubernetes.Open(t.Context(), byConfig(key)); !errors.Is(err, providers.ErrInvalid) || strings.Contains(err.Error(), token) {
			t.Errorf("Open with a kubeconfig that has %s: got %v, want ErrInvalid", key, err)
		}
	}
}

func TestMetadata(t *testing.T) {
	r := newRemote(t, "app")
	must(t, r.put(t.Context(), "app", map[string][]byte{"a": []byte("b")}, map[string]string{"team": "a"}))
	reader, err := kubernetes.Open(t.Context(), store(t, r.settings(), r.refs))
	must(t, err)
	if _, err := reader.Read(t.Context(), providers.Ref{Path: "app", Version: "1"}); !errors.Is(err, providers.ErrInvalid) {
		t.Errorf("Read of a version: got %v, want ErrInvalid", err)
	}
	about, err := reader.(providers.MetadataReader).Metadata(t.Context(), providers.Ref{Path: "app"})
	if want := `{"annotations":{},"labels":{"team":"a"}}`; err != nil || string(about.Bytes()) != want {
		t.Errorf("Metadata: got %s, %v, want %s", about.Bytes(), err, want)
	}
}

// TestAnswers shows that only the API server says that a Secret is gone.
func TestAnswers(t *testing.T) {
	const leak = "hunter2"
	cases := map[string]struct {
		reason string
		status int
		body   string
		want   error
	}{
		"Gone":      {"The API server says so.", 404, `{"kind":"Status","reason":"NotFound","details":{"name":"app","kind":"secrets"}}`, providers.ErrNotFound},
		"Namespace": {"A 404 about something else is none.", 404, `{"kind":"Status","reason":"NotFound","details":{"name":"team","kind":"namespaces"}}`, providers.ErrUnavailable},
		"Proxy":     {"A proxy cannot.", 404, "<html>" + leak, providers.ErrUnavailable},
		"HTML":      {"Nor what a value is.", 200, "<html>" + leak, providers.ErrUnavailable},
		"Denied":    {"A right is missing.", 403, leak, providers.ErrDenied},
		"Login":     {"Or credentials.", 401, leak, providers.ErrDenied},
		"Throttled": {"A limit is no failure.", 429, leak, providers.ErrThrottled},
		"Crash":     {"A crash passes.", 500, leak, providers.ErrUnavailable},
		"Redirect":  {"A redirect is not followed.", 307, leak, providers.ErrUnavailable},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tc.status)
				_, _ = w.Write([]byte(tc.body)) // the client may be gone
			}))
			defer server.Close()
			refs := &conformance.References{}
			refs.Set("k", "token", "token-of-the-test")
			cert := pemOf(server)
			reader, err := kubernetes.Open(t.Context(), store(t, map[string]any{"server": map[string]any{"url": server.URL, "caBundle": cert},
				"auth": map[string]any{"token": map[string]any{"bearerToken": map[string]string{"name": "k"}}}}, refs))
			must(t, err)
			_, err = reader.Read(t.Context(), providers.Ref{Path: "app"})
			if !errors.Is(err, tc.want) || strings.Contains(err.Error(), leak) || strings.Contains(err.Error(), "token-of-the-test") {
				t.Errorf("%s\nRead: got %v, want %v without a value or a credential", tc.reason, err, tc.want)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	account := map[string]any{"serviceAccount": map[string]any{"name": "reader"}}
	cases := map[string]struct {
		reason   string
		settings map[string]any
		field    string
	}{
		"OwnIdentity": {"The controller's own identity is never used.", map[string]any{}, "auth"},
		"Audience":    {"A token for this cluster is not sent to another.", map[string]any{"server": map[string]any{"url": "https://evil.example.com"}, "auth": account}, "auth.serviceAccount.audiences"},
		"Lookalike":   {"Nor to one that looks like it.", map[string]any{"server": map[string]any{"url": "https://kubernetes.default.svc.cluster.local.evil.example.com"}, "auth": account}, "auth.serviceAccount.audiences"},
		"HTTP":        {"Nothing is sent unencrypted.", map[string]any{"server": map[string]any{"url": "http://api"}, "auth": account}, "server.url"},
		"Namespace":   {"A namespace is no path.", map[string]any{"remoteNamespace": "../../x", "auth": account}, "remoteNamespace"},
		"NoSecret":    {"What is missing is named.", map[string]any{"authRef": map[string]string{"name": "none", "key": "k"}}, "authRef"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := kubernetes.Open(t.Context(), store(t, tc.settings, &conformance.References{}))
			if !errors.Is(err, providers.ErrInvalid) || !strings.Contains(err.Error(), "spec.provider.kubernetes."+tc.field) {
				t.Errorf("%s\nOpen: got %v, want ErrInvalid with spec.provider.kubernetes.%s in it", tc.reason, err, tc.field)
			}
		})
	}
}

// TestOwnCluster shows for whom a token of this cluster is, and who signs.
func TestOwnCluster(t *testing.T) {
	refs := &conformance.References{Authority: cluster.Get(t).CA(), TokenFn: func(context.Context, string, []string) (string, error) { return "token", nil }}
	_, err := kubernetes.Open(t.Context(), store(t, map[string]any{"auth": map[string]any{"serviceAccount": map[string]any{"name": "reader"}}}, refs))
	must(t, err)
	if got, want := refs.Audiences(), []string{"https://kubernetes.default.svc.cluster.local", "https://kubernetes.default.svc"}; !slices.Equal(got, want) {
		t.Errorf("audiences of the token: got %q, want %q", got, want)
	}
}

// startTLS starts a server that takes client certificates.
func startTLS(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

func encoded(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// pemOf returns the certificate of a server.
func pemOf(server *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}
