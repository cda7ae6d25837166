package bucket_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/golang-jwt/jwt/v5"

	"github.com/lockstep-dev/lockstep/test/testenv"
)

// storage is the part of Google Cloud Storage that a Bucket needs, with its
// tokens. It is written from the documentation:
// https://docs.cloud.google.com/storage/docs/json_api/v1
type storage struct {
	*httptest.Server
	key   *rsa.PrivateKey
	token string
	files map[string]string
	reads atomic.Int64
}

func startStorage(t *testing.T, token string, files map[string]string) *storage {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s := &storage{key: key, token: token, files: files}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		_, err := jwt.Parse(r.FormValue("assertion"), func(*jwt.Token) (any, error) { return &key.PublicKey, nil }, jwt.WithValidMethods([]string{"RS256"}), jwt.WithIssuer("robot@example.test"))
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":3600}`, s.token)
	})
	mux.HandleFunc("GET /storage/v1/b/deploy/o", s.list)
	mux.HandleFunc("GET /storage/v1/b/deploy/o/{name}", func(w http.ResponseWriter, r *http.Request) {
		name, _ := url.PathUnescape(r.PathValue("name"))
		content, ok := s.files[name]
		if !s.known(w, r) || !ok || r.FormValue("alt") != "media" || r.FormValue("generation") != generation(content) {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		s.reads.Add(1)
		_, _ = w.Write([]byte(content))
	})
	s.Server = httptest.NewTLSServer(mux)
	t.Cleanup(s.Close)
	return s
}

func generation(content string) string { return fmt.Sprintf("%d%d", len(content), content[0]) }

func (s *storage) known(w http.ResponseWriter, r *http.Request) bool {
	if r.Header.Get("Authorization") == "Bearer "+s.token {
		return true
	}
	w.WriteHeader(http.StatusUnauthorized)
	return false
}

// list gives one object a page.
func (s *storage) list(w http.ResponseWriter, r *http.Request) {
	if !s.known(w, r) {
		return
	}
	names := []string{"a/x.yaml", "a/y z.yaml"}
	page, next := 0, "second"
	if r.FormValue("pageToken") == "second" {
		page, next = 1, ""
	}
	content := s.files[names[page]]
	fmt.Fprintf(w, `{"nextPageToken":%q,"items":[{"name":%q,"generation":%q,"size":"%d"}]}`, next, names[page], generation(content), len(content))
}

func TestGoogle(t *testing.T) {
	b := start(t)
	canary := testenv.NewCanary(t)
	s := startStorage(t, canary.Value(), map[string]string{"a/x.yaml": "x: 1", "a/y z.yaml": "y: 1"})
	account, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "robot@example.test", "private_key_id": "1", "project_id": "p", "token_uri": s.URL + "/token",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(s.key)})),
	})
	if err != nil {
		t.Fatal(err)
	}
	b.create(sourcev1.BucketSpec{
		Provider: "gcp", BucketName: "deploy", Endpoint: s.Listener.Addr().String(),
		SecretRef:     b.secret("account", map[string]string{"serviceaccount": string(account)}),
		CertSecretRef: b.secret("certs", map[string]string{"ca.crt": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))}),
	})
	b.ready()
	for name, want := range s.files {
		if got, err := b.file(name); got != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	s.files["a/x.yaml"] = "changed"
	b.request()
	if got, err := b.file("a/x.yaml"); got != "changed" || s.reads.Load() != 3 {
		t.Errorf("a/x.yaml: %q, %v, after %d reads", got, err, s.reads.Load())
	}
	b.secret("account", map[string]string{"serviceaccount": `{"type":"external_account","token_url":"http://169.254.169.254/"}`})
	b.failed(sourcev1.AuthenticationFailedReason, "serviceaccount")
	canary.NotInCluster(t, b.cp)
}

// TestLDAP exchanges a name and a password for the keys of a bucket.
func TestLDAP(t *testing.T) {
	b := start(t)
	s3, f := b.open(map[string]string{"x": "1"})
	canary := testenv.NewCanary(t)
	sts := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("Action") != "AssumeRoleWithLDAPIdentity" || r.FormValue("LDAPUsername") != "someone" || r.FormValue("LDAPPassword") != canary.Value() {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, `<AssumeRoleWithLDAPIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithLDAPIdentityResult><Credentials>
<AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken></SessionToken><Expiration>%s</Expiration>
</Credentials></AssumeRoleWithLDAPIdentityResult></AssumeRoleWithLDAPIdentityResponse>`, s3.Access, s3.Secret, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	t.Cleanup(sts.Close)
	b.ready()
	b.change(func(r *sourcev1.Bucket) {
		r.Spec.SecretRef = nil
		r.Spec.STS = &sourcev1.BucketSTSSpec{
			Provider: "ldap", Endpoint: sts.URL,
			SecretRef:     b.secret("ldap", map[string]string{"username": "someone", "password": canary.Value()}),
			CertSecretRef: b.secret("sts", map[string]string{"ca.crt": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: sts.Certificate().Raw}))}),
		}
	})
	b.ready()
	f.put(map[string]string{"x": "2"})
	b.request()
	if got, err := b.file("x"); got != "2" {
		t.Errorf("x: %q, %v", got, err)
	}
	b.secret("ldap", map[string]string{"username": "someone", "password": "wrong"})
	b.eventually("fails", func(r *sourcev1.Bucket) bool {
		for _, c := range r.Status.Conditions {
			if c.Type == "Ready" && c.Status == "False" {
				return true
			}
		}
		return false
	})
}
