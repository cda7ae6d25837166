package attacks

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/externalsecrets/stores"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/aws"
	"github.com/lockstep-dev/lockstep/providers/gcp"
	"github.com/lockstep-dev/lockstep/providers/kubernetes"
	"github.com/lockstep-dev/lockstep/providers/vault"
	"github.com/lockstep-dev/lockstep/providers/webhook"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// thief is a server that writes down all that it is sent.
type thief struct {
	*httptest.Server

	mu    sync.Mutex
	heard []string
}

func newThief(t *testing.T) *thief {
	t.Helper()
	h := &thief{}
	h.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		text, _ := url.QueryUnescape(string(body))
		h.mu.Lock()
		defer h.mu.Unlock()
		h.heard = append(h.heard, fmt.Sprint(r.Host, r.URL, r.Header, string(body), text))
		w.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *thief) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw})
}

// asking are stores whose server asks for who we are, in every way that the
// controller could say so itself. URL and CA are those of the thief.
var asking = map[string]string{
	"vault-own":        "vault: {server: URL, caBundle: CA, auth: {kubernetes: {mountPath: kubernetes, role: app}}}",
	"vault-account":    "vault: {server: URL, caBundle: CA, auth: {kubernetes: {mountPath: kubernetes, role: app, serviceAccountRef: {name: app, namespace: NS}}}}",
	"vault-jwt":        "vault: {server: URL, caBundle: CA, auth: {jwt: {path: jwt, role: app, kubernetesServiceAccountToken: {serviceAccountRef: {name: app, namespace: NS}}}}}",
	"vault-none":       "vault: {server: URL, caBundle: CA}",
	"openbao-account":  "openBao: {server: URL, caBundle: CA, auth: {kubernetes: {mountPath: kubernetes, role: app, serviceAccountRef: {name: app, namespace: NS}}}}",
	"kubernetes":       "kubernetes: {server: {url: URL, caBundle: CA}, auth: {serviceAccount: {name: app, namespace: NS}}}",
	"kubernetes-other": "kubernetes: {server: {url: URL, caBundle: CA}, auth: {serviceAccount: {name: app, namespace: NS, audiences: [other]}}}",
	"kubernetes-none":  "kubernetes: {server: {url: URL, caBundle: CA}}",
	"webhook":          "webhook: {url: URL, caBundle: CA, result: {jsonPath: $}}",
	"aws-account":      "aws: {service: SecretsManager, region: eu-central-1, role: 'arn:aws:iam::123456789012:role/app', auth: {jwt: {serviceAccountRef: {name: app, namespace: NS}}}}",
	"aws-none":         "aws: {service: SecretsManager, region: eu-central-1}",
	"gcp-federation":   "gcpsm: {projectID: team, auth: {workloadIdentityFederation: {audience: //iam.googleapis.com/p, serviceAccountRef: {name: app, namespace: NS}}}}",
	"gcp-identity":     "gcpsm: {projectID: team, auth: {workloadIdentity: {serviceAccountRef: {name: app, namespace: NS}, clusterProjectID: team, clusterLocation: eu, clusterName: c}}}",
	"gcp-none":         "gcpsm: {projectID: team}",
}

var jwt = regexp.MustCompile(`eyJ[\w-]+\.(eyJ[\w-]+)\.[\w-]+`)

// audiences are those of a token.
func audiences(t *testing.T, payload string) []string {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(payload)
	var claims struct{ Aud []string }
	if err != nil || json.Unmarshal(text, &claims) != nil || len(claims.Aud) == 0 {
		t.Fatalf("a token without audiences: %v", err)
	}
	return claims.Aud
}

// TestK8OwnToken has stores of a tenant and of the platform log in at a thief.
// He never hears the controller's token of the API server, nor any other that
// the API server takes.
func TestK8OwnToken(t *testing.T) {
	s, h := shared.Get(t), newThief(t)
	ns := s.Cluster.Namespace(t)
	own, err := s.Cluster.Token(t.Context(), ns, "controller")
	if err != nil {
		t.Fatal(err)
	}
	canary := testenv.CanaryOf(own)
	config := rest.AnonymousClientConfig(s.Cluster.RestConfig())
	config.BearerToken = own
	as, err := client.New(config, client.Options{Scheme: s.Client.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	allow(t, s, ns, "controller")
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "app", Annotations: map[string]string{"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/sa"}}}
	if err := s.Ensure(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	open := &stores.Stores{Client: as, Reader: as, Metadata: as, Registry: providers.Registry{
		esv1.ProviderAWS: aws.New(aws.Endpoints{SecretsManager: h.URL, STS: h.URL, CA: h.ca()}), esv1.ProviderVault: vault.New(vault.Clouds{}), esv1.ProviderOpenBao: vault.OpenBao,
		esv1.ProviderGCP:        gcp.New(gcp.Endpoints{SecretManager: h.Listener.Addr().String(), STS: h.URL, IAM: h.URL, IdentityBinding: h.URL, CA: h.ca()}),
		esv1.ProviderKubernetes: kubernetes.Open, esv1.ProviderWebhook: webhook.Open,
	}}
	for name, spec := range asking {
		spec = strings.NewReplacer("URL", h.URL, "CA}", base64.StdEncoding.EncodeToString(h.ca())+"}", "CA,", base64.StdEncoding.EncodeToString(h.ca())+",", "NS", ns).Replace(spec)
		one, all := &esv1.SecretStore{}, &esv1.ClusterSecretStore{}
		for _, store := range []client.Object{one, all} {
			fill(t, store, "spec: {provider: {"+spec+"}}")
			store.SetName(ns + "-" + name)
		}
		one.Namespace = ns
		if err := s.Ensure(t.Context(), one, all); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Client.Delete(t.Context(), all) })
		for _, kind := range []string{esv1.SecretStoreKind, esv1.ClusterSecretStoreKind} {
			reader, err := open.Get(t.Context(), kind, ns, one.Name)
			if err == nil {
				_, err = reader.Read(t.Context(), providers.Ref{Path: "app"})
			}
			if err == nil {
				t.Errorf("%s %s: read something from a thief", kind, name)
			}
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	theirs := 0
	for _, text := range h.heard {
		canary.NotIn(t, "what the thief heard", []byte(text))
		for _, found := range jwt.FindAllStringSubmatch(text, -1) {
			theirs++
			for _, audience := range audiences(t, strings.Split(own, ".")[1]) {
				if slices.Contains(audiences(t, found[1]), audience) {
					t.Errorf("a token for the API server was sent: %.60s", text)
				}
			}
		}
	}
	if len(h.heard) < 10 || theirs < 8 {
		t.Errorf("the thief heard %d requests with %d tokens: the test proves nothing", len(h.heard), theirs)
	}
}
