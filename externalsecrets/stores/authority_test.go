package stores_test

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/externalsecrets/stores"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/kubernetes"
	realvault "github.com/lockstep-dev/lockstep/providers/vault"
	"github.com/lockstep-dev/lockstep/providers/webhook"
)

// authorities are the providers with a caProvider, AT, at a server, URL; each
// reads the secret app from the server of this test.
var authorities = map[string]string{
	"vault":      "vault: {server: URL, path: secret, caProvider: AT}",
	"webhook":    "webhook: {url: URL/webhook, result: {jsonPath: $.a}, caProvider: AT}",
	"kubernetes": "kubernetes: {server: {url: URL, caProvider: AT}, remoteNamespace: r, auth: {token: {bearerToken: {name: token, key: t, namespace: HERE}}}}",
}

// answer is what each of them understands.
func answer(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasPrefix(r.URL.Path, "/v1/secret/"):
		fmt.Fprint(w, `{"data":{"data":{"a":"b"},"metadata":{"version":1}}}`)
	case strings.HasPrefix(r.URL.Path, "/api/v1/"):
		fmt.Fprint(w, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"app"},"data":{"a":"Yg=="}}`)
	default:
		fmt.Fprint(w, `{"a":{"a":"b"}}`)
	}
}

// TestAuthorities opens real backends whose server has a certificate that only
// a Secret or a ConfigMap vouches for.
func TestAuthorities(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(answer))
	t.Cleanup(server.Close)
	b := startWith(t, providers.Registry{"vault": realvault.Open, "webhook": webhook.Open, "kubernetes": kubernetes.Open})
	bundle := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	for _, namespace := range []string{b.ns, b.other} {
		named := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: namespace, Name: name} }
		for _, o := range []client.Object{
			&corev1.Secret{ObjectMeta: named("token"), StringData: map[string]string{"t": "t"}},
			&corev1.Secret{ObjectMeta: named("ca"), StringData: map[string]string{"c": bundle, "bad": "none"}},
			&corev1.ConfigMap{ObjectMeta: named("ca"), Data: map[string]string{"c": bundle, "bad": "none"}},
		} {
			if err := b.Create(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		}
	}
	cases := map[string]struct {
		reason   string
		cluster  bool
		provider string
		want     error
	}{
		"Own":              {"The store's own namespace is meant.", false, "{type: KIND, name: ca, key: c}", nil},
		"Named":            {"It may be named.", false, "{type: KIND, name: ca, key: c, namespace: NS}", nil},
		"Other":            {"Another may not.", false, "{type: KIND, name: ca, key: c, namespace: OTHER}", providers.ErrInvalid},
		"NoObject":         {"What does not exist vouches for nobody.", false, "{type: KIND, name: none, key: c}", stores.ErrReference},
		"NoKey":            {"Neither does a key that is missing.", false, "{type: KIND, name: ca, key: none}", stores.ErrReference},
		"NoCertificate":    {"Nor what is none.", false, "{type: KIND, name: ca, key: bad}", providers.ErrInvalid},
		"ClusterNamed":     {"A ClusterSecretStore names the namespace.", true, "{type: KIND, name: ca, key: c, namespace: OTHER}", nil},
		"ClusterWithout":   {"Its users do not say whom it trusts.", true, "{type: KIND, name: ca, key: c}", providers.ErrInvalid},
		"ClusterElsewhere": {"There is nothing in a namespace that there is not.", true, "{type: KIND, name: ca, key: c, namespace: not-there}", stores.ErrReference},
	}
	for provider, settings := range authorities {
		for _, kind := range []string{"Secret", "ConfigMap"} {
			for name, tc := range cases {
				t.Run(provider+"/"+kind+"/"+name, func(t *testing.T) {
					text := strings.NewReplacer("AT", strings.ReplaceAll(tc.provider, "KIND", kind), "URL", "'"+server.URL+"'", "HERE", "NS").Replace(settings)
					text = strings.ReplaceAll(text, "'"+server.URL+"'/webhook", "'"+server.URL+"/webhook'")
					err := authority{b, strings.ToLower(provider + "-" + kind + "-" + name), tc.cluster}.read(t, text)
					if !errors.Is(err, tc.want) || tc.want == nil && err != nil {
						t.Errorf("%s\ngot %v, want %v", tc.reason, err, tc.want)
					}
				})
			}
		}
	}
}

// authority is a store of TestAuthorities.
type authority struct {
	b       *bench
	name    string
	cluster bool
}

// read makes the store, and reads from it for the namespace NS.
func (a authority) read(t *testing.T, provider string) error {
	t.Helper()
	kind, name := esv1.SecretStoreKind, a.name
	if a.cluster {
		kind, name = esv1.ClusterSecretStoreKind, a.b.ns+"-"+a.name
		a.b.apply("metadata: {name: "+name+"}\nspec: {provider: {"+provider+"}}", &esv1.ClusterSecretStore{})
	} else {
		a.b.apply("metadata: {name: "+name+", namespace: NS}\nspec: {provider: {"+provider+"}}", &esv1.SecretStore{})
	}
	// The store reads from a cache, which knows of it a moment later.
	var reader providers.Reader
	var err error
	last := ""
	eventually(t, "the cache to have "+name, &last, func() bool {
		reader, err = a.b.stores.Get(t.Context(), kind, a.b.ns, name)
		last = fmt.Sprint(err)
		return !errors.Is(err, stores.ErrNoStore)
	})
	if err != nil {
		return err
	}
	v, err := reader.Read(t.Context(), providers.Ref{Path: "app"})
	if got := string(v.Bytes()); err == nil && got != `{"a":"b"}` {
		t.Errorf("Read: got %s", got)
	}
	return err
}
