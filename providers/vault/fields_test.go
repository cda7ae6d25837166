package vault_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/aws"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/gcp"
	"github.com/lockstep-dev/lockstep/providers/vault"
)

// recorder stands for Vault, AWS and Google, lets everybody in, and notes what
// was read and sent.
type recorder struct {
	conformance.References

	mu   sync.Mutex
	sent []string
}

func (r *recorder) notef(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, fmt.Sprintf(format, args...))
}

// Secret implements providers.References.
func (r *recorder) Secret(ctx context.Context, ref esv1.SecretKeySelector) (providers.Value, error) {
	r.notef("reads %s of Secret %s", ref.Key, ref.Name)
	return r.References.Secret(ctx, ref)
}

// CA implements providers.References.
func (r *recorder) CA(ctx context.Context, ref esv1.CAProvider) ([]byte, error) {
	r.notef("reads %s of %s %s", ref.Key, ref.Type, ref.Name)
	return r.References.CA(ctx, ref)
}

// Token implements providers.References.
func (r *recorder) Token(_ context.Context, ref esv1.ServiceAccountSelector, audiences []string, lifetime time.Duration) (providers.Value, time.Time, error) {
	r.notef("token of %s for %q, %s", ref.Name, audiences, lifetime)
	return providers.NewValue([]byte("token-of-" + ref.Name)), time.Now().Add(time.Hour), nil
}

// state is what Vault Enterprise says of how new an answer is.
var state = base64.StdEncoding.EncodeToString([]byte("v1:cluster:7:3:" + strings.Repeat("ab", 32)))

// moment are the parts of a signed request that no two have.
var moment = regexp.MustCompile(`/20[0-9]{6}/|Signature=[0-9a-f]*|"X-Amz-Date":\["[^"]*"\]`)

func (r *recorder) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, _ := io.ReadAll(q.Body) // what is missing makes a difference, too
	shown := ""
	if q.TLS != nil && len(q.TLS.PeerCertificates) > 0 {
		shown = q.TLS.PeerCertificates[0].Subject.CommonName
	}
	r.notef("%s %s%s %q %q %s", q.Method, q.Host, q.URL.RequestURI(), shown, []string{q.Header.Get("X-Vault-Token"), q.Header.Get("X-Vault-Namespace"),
		q.Header.Get("X-Vault-Index"), q.Header.Get("X-Vault-Inconsistent"), q.Header.Get("X-Team"), moment.ReplaceAllString(q.Header.Get("Authorization"), "")}, readable(body))
	w.Header().Set("X-Vault-Index", state)
	switch path := q.URL.Path; {
	case path == "/": // STS
		action, _, _ := strings.Cut(strings.TrimPrefix(string(body), "Action="), "&")
		fmt.Fprintf(w, `<%[1]sResponse><%[1]sResult><Credentials><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>of %[1]s</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></%[1]sResult></%[1]sResponse>`, action)
	case strings.HasSuffix(path, ":signJwt"):
		fmt.Fprintf(w, `{"signedJwt":"jwt of %s"}`, path)
	case strings.Contains(path, "/serviceAccounts/"):
		fmt.Fprintf(w, `{"accessToken":"as %s","expireTime":"2099-01-01T00:00:00Z"}`, path)
	case path == "/v1/identitybindingtoken":
		fmt.Fprint(w, `{"access_token":"bound","expires_in":3600}`)
	case strings.HasPrefix(path, "/v1/auth/"):
		fmt.Fprint(w, `{"auth":{"client_token":"of-the-login","lease_duration":3600}}`)
	case strings.HasPrefix(path, "/v1/sys/"):
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"errors":["wrapping token is not valid or does not exist"]}`)
	case q.Method == http.MethodGet && (strings.Contains(path, "/metadata/") || strings.HasSuffix(path, "/new")):
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"errors":[]}`)
	case strings.Contains(path, "/data/"):
		fmt.Fprint(w, kv(`{"a":"b"}`))
	default:
		fmt.Fprint(w, `{"data":{"a":"b"}}`)
	}
}

// readable takes a login apart: what is signed is base64 of JSON, and a JWT
// says when it was made.
func readable(body []byte) string {
	var in map[string]any
	if json.Unmarshal(body, &in) != nil {
		return string(body)
	}
	for key, v := range in {
		text, _ := v.(string)
		if strings.HasPrefix(key, "iam_request_") {
			plain, _ := base64.StdEncoding.DecodeString(text) // nothing makes a difference, too
			in[key] = moment.ReplaceAllString(string(plain), "")
		}
		if parts := strings.Split(text, "."); len(parts) == 3 {
			plain, _ := base64.RawURLEncoding.DecodeString(parts[1])
			in[key] = seconds.ReplaceAllString(string(plain), "")
		}
		if key == "payload" {
			in[key] = seconds.ReplaceAllString(text, "")
		}
	}
	return fmt.Sprint(in)
}

// seconds are times in a JWT.
var seconds = regexp.MustCompile(`"(iat|exp|nbf)":[0-9]+`)

// open opens a store of Vault, with identities of clouds that are given at at.
func (r *recorder) open(at string) providers.Open {
	return vault.New(vault.Clouds{AWS: aws.Endpoints{STS: at}.Identity, GCP: gcp.Endpoints{IAM: at, IdentityBinding: at}.Login})
}

// trace opens a store, reads twice and writes, and returns what was sent.
func (r *recorder) trace(t *testing.T, open providers.Open, config providers.Config) (string, error) {
	t.Helper()
	r.sent, config.References = nil, r
	opened, err := open(t.Context(), config)
	for range 2 {
		if err == nil {
			_, err = opened.Read(t.Context(), providers.Ref{Path: "app"})
		}
	}
	if err == nil {
		err = opened.(providers.Writer).Write(t.Context(), providers.Target{Path: "new"}, providers.NewValue([]byte(`{"c":"d"}`)), nil)
	}
	return strings.Join(r.sent, "\n"), err
}

// fill puts into Secrets what the ways in need.
func (r *recorder) fill(t *testing.T, names ...string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	for _, name := range names {
		account, err := json.Marshal(map[string]string{"type": "service_account", "client_email": name + "@team.iam.gserviceaccount.com", "private_key_id": "kid",
			"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))})
		must(t, err)
		cert, private := clientCertificate(t, name)
		for key, value := range map[string]string{"key": name, "token": "token-in-" + name, "id": name, "secret": "s", "session": name, "json": string(account), "tls.crt": cert, "tls.key": private} {
			r.Set(name, key, value)
		}
	}
	r.Accounts = map[string]map[string]string{}
	for _, name := range names {
		r.Accounts[name] = map[string]string{"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/" + name, "iam.gke.io/gcp-service-account": name + "@team.iam.gserviceaccount.com"}
	}
}

// recorders are a recorder, and servers of it: two that speak no TLS, and one
// whose authority is no other's, and that asks for certificates.
func recorders(t *testing.T) (r *recorder, plain, elsewhere, secure string) {
	t.Helper()
	r = &recorder{}
	r.fill(t, "app", "other")
	tlsServer := httptest.NewUnstartedServer(r)
	tlsServer.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	tlsServer.Config.ErrorLog = log.New(io.Discard, "", 0) // those who do not trust it say so
	tlsServer.StartTLS()
	servers := []*httptest.Server{httptest.NewServer(r), httptest.NewServer(r), tlsServer}
	for _, s := range servers {
		t.Cleanup(s.Close)
	}
	r.Authority = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: tlsServer.Certificate().Raw})
	return r, servers[0].URL, servers[1].URL, tlsServer.URL
}

// TestFields is the inventory of spec.provider.vault, and of openBao. What each
// way in does at a real server is in the tests of its own.
func TestFields(t *testing.T) {
	r, plain, elsewhere, secure := recorders(t)
	served := servedBy(secure, r.Authority)
	served["server"] = conformance.Change{"server": elsewhere}
	base := map[string]any{"server": plain, "path": "secret", "auth": map[string]any{"tokenSecretRef": selector("app", "key")}}
	t.Run("vault", func(t *testing.T) {
		conformance.Fields{
			Provider: "vault", Settings: esv1.VaultProvider{}, Base: base, Served: served,
			Refused: map[string]conformance.Change{"auth.gcp.serviceAccountRef": way("gcp", map[string]any{"role": "r", "serviceAccountRef": selector("app", "")})},
			// A write names the version that it replaces, whatever it says.
			Idle: map[string]conformance.Change{"checkAndSet.required": {"checkAndSet.required": true}},
			Trace: func(t *testing.T, config providers.Config) (string, error) {
				t.Helper()
				return r.trace(t, r.open(plain), config)
			},
		}.Test(t)
	})
	t.Run("openBao", func(t *testing.T) {
		fewer := map[string]conformance.Change{}
		for field, change := range served {
			if !onlyVault.MatchString(field) {
				fewer[field] = change
			}
		}
		conformance.Fields{
			Provider: "openBao", Settings: esv1.OpenBaoProvider{}, Base: base, Served: fewer,
			Trace: func(t *testing.T, config providers.Config) (string, error) {
				t.Helper()
				return r.trace(t, vault.OpenBao, config)
			},
		}.Test(t)
	})
}

// onlyVault are the fields that openBao has not.
var onlyVault = regexp.MustCompile(`^(tls|readYourWrites|forwardInconsistent|headers|auth\.(ldap|jwt|cert|iam|gcp))`)

// selector names a Secret, or with no key a ServiceAccount.
func selector(name, key string) map[string]string {
	if key == "" {
		return map[string]string{"name": name}
	}
	return map[string]string{"name": name, "key": key}
}

// way logs in by one method, which has the settings.
func way(method string, settings map[string]any) conformance.Change {
	change := conformance.Change{"auth.tokenSecretRef": nil}
	for field, value := range settings {
		change["auth."+method+"."+field] = value
	}
	return change
}

// ways fills the table with the settings of one method: base, which works, and
// for each field another value.
func ways(served map[string]conformance.Change, method string, base, other map[string]any) {
	for field, value := range other {
		settings := maps.Clone(base)
		settings[field] = value
		maps.DeleteFunc(settings, func(_ string, v any) bool { return v == nil })
		served["auth."+method+"."+field] = way(method, settings)
	}
}

// servedBy is the table of what is served. secure is a server whose authority
// is no other's.
func servedBy(secure string, authority []byte) map[string]conformance.Change {
	both := func(change conformance.Change) conformance.Change {
		change["server"], change["caBundle"] = secure, authority
		return change
	}
	served := map[string]conformance.Change{
		"path": {"path": "kv"}, "version": {"version": "v1"}, "namespace": {"namespace": "team"}, "headers": {"headers": map[string]string{"X-Team": "a"}},
		"readYourWrites": {"readYourWrites": true}, "forwardInconsistent": {"forwardInconsistent": true},
		"caBundle": both(conformance.Change{}), "caProvider": {"server": secure, "caProvider": map[string]string{"type": "ConfigMap", "name": "ca", "key": "ca.crt"}},
		"tls.certSecretRef":   both(conformance.Change{"tls.certSecretRef": selector("app", ""), "tls.keySecretRef": selector("app", "")}),
		"tls.keySecretRef":    both(conformance.Change{"tls.certSecretRef": selector("app", ""), "tls.keySecretRef": selector("app", "")}),
		"auth.tokenSecretRef": {"auth.tokenSecretRef": selector("other", "key")},
		"auth.namespace":      {"auth.namespace": "root"},
	}
	key, account := selector("app", "key"), selector("app", "")
	ways(served, "appRole", map[string]any{"roleId": "r", "secretRef": key}, map[string]any{"path": "p", "roleId": "other", "secretRef": selector("other", "key")})
	ways(served, "appRole", map[string]any{"secretRef": key}, map[string]any{"roleRef": selector("other", "key")})
	ways(served, "kubernetes", map[string]any{"role": "r", "serviceAccountRef": account}, map[string]any{"mountPath": "p", "role": "other", "serviceAccountRef": selector("other", "")})
	ways(served, "kubernetes", map[string]any{"role": "r"}, map[string]any{"secretRef": selector("other", "key")})
	for _, method := range []string{"ldap", "userPass"} {
		ways(served, method, map[string]any{"username": "u", "secretRef": key}, map[string]any{"path": "p", "username": "other", "secretRef": selector("other", "key")})
	}
	const k8s = "kubernetesServiceAccountToken."
	ways(served, "jwt", map[string]any{k8s + "serviceAccountRef": account}, map[string]any{
		"path": "p", "role": "r", k8s + "serviceAccountRef": selector("other", ""), k8s + "audiences": []string{"other"}, k8s + "expirationSeconds": 1200, "secretRef": selector("other", "key")})
	ways(served, "cert", map[string]any{"clientCert": account, "secretRef": account}, map[string]any{"path": "p", "vaultRole": "r", "clientCert": account, "secretRef": account})
	ways(served, "iam", map[string]any{"vaultRole": "r", "secretRef.accessKeyIDSecretRef": selector("app", "id"), "secretRef.secretAccessKeySecretRef": selector("app", "secret"), "role": "arn:aws:iam::123456789012:role/r"}, map[string]any{
		"path": "p", "region": "eu-central-1", "role": "arn:aws:iam::123456789012:role/other", "vaultRole": "other", "externalID": "e", "vaultAwsIamServerID": "vault.example.com",
		"secretRef.accessKeyIDSecretRef": selector("other", "id"), "secretRef.secretAccessKeySecretRef": selector("other", "secret"), "secretRef.sessionTokenSecretRef": selector("other", "session"), "jwt.serviceAccountRef": account})
	const wi = "workloadIdentity."
	ways(served, "gcp", map[string]any{"role": "r", wi + "serviceAccountRef": account, wi + "clusterLocation": "europe-west3", wi + "clusterName": "c", wi + "clusterProjectID": "team"}, map[string]any{
		"path": "p", "role": "other", wi + "serviceAccountRef": selector("other", ""), wi + "clusterLocation": "us-east1", wi + "clusterName": "other", wi + "clusterProjectID": "other",
		"secretRef.secretAccessKeySecretRef": selector("app", "json")})
	ways(served, "gcp", map[string]any{"role": "r", wi + "serviceAccountRef": account, wi + "clusterLocation": "europe-west3", wi + "clusterName": "c"}, map[string]any{"projectID": "team"})
	ways(served, "gcp", map[string]any{"role": "r", wi + "serviceAccountRef": account, wi + "clusterProjectID": "team", wi + "clusterName": "c"}, map[string]any{"location": "europe-west3"})
	return served
}
