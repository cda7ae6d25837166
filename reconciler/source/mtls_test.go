package source_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"github.com/lockstep-dev/lockstep/test/testenv"
)

// authority signs certificates of clients.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.key = a.newKey()
	a.cert = a.sign(&a.key.PublicKey, &x509.Certificate{
		Subject: pkix.Name{CommonName: "clients"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

func (a *authority) sign(of *ecdsa.PublicKey, template *x509.Certificate) *x509.Certificate {
	a.t.Helper()
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(1), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent := template
	if a.cert != nil {
		parent = a.cert
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, of, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert
}

// client is a certificate and its key, as they stand in a Secret.
func (a *authority) client() (cert, key string) {
	a.t.Helper()
	own := a.newKey()
	c := a.sign(&own.PublicKey, &x509.Certificate{
		Subject: pkix.Name{CommonName: "puller"}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	der, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		a.t.Fatal(err)
	}
	return pemOf("CERTIFICATE", c.Raw), pemOf("PRIVATE KEY", der)
}

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// mutual is the Git server for those who show a certificate of an authority.
func mutual(t *testing.T, git *testenv.GitServer, clients *authority) *httptest.Server {
	t.Helper()
	behind, err := url.Parse(git.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(git.CA)
	known := x509.NewCertPool()
	known.AddCert(clients.cert)
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(behind) },
		Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}},
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	s := httptest.NewUnstartedServer(proxy)
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: known}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// TestClientCertificate fetches from a server that lets in only those who show
// a certificate that it knows.
func TestClientCertificate(t *testing.T) {
	b := start(t)
	repo, first := b.repository("public")
	clients, strangers := newAuthority(t), newAuthority(t)
	server := mutual(t, b.git, clients)
	cert, key := clients.client()
	other, otherKey := strangers.client()
	ca := pemOf("CERTIFICATE", server.Certificate().Raw)
	canary := testenv.CanaryOf(strings.ReplaceAll(key, "\n", "")[40:80])
	b.create(server.URL+strings.TrimPrefix(repo.URL(), b.git.HTTP), nil)
	for _, step := range []struct {
		name   string
		secret map[string]string
		reason string // of the failure; empty for success
		says   string
	}{
		{"no certificate", map[string]string{"ca.crt": ca}, sourcev1.GitOperationFailedReason, ""},
		{"its certificate", map[string]string{"ca.crt": ca, "tls.crt": cert, "tls.key": key}, "", ""},
		{"of another authority", map[string]string{"ca.crt": ca, "tls.crt": other, "tls.key": otherKey}, sourcev1.GitOperationFailedReason, ""},
		{"the key of another", map[string]string{"ca.crt": ca, "tls.crt": cert, "tls.key": otherKey}, sourcev1.AuthenticationFailedReason, "tls.crt and tls.key"},
		{"no key", map[string]string{"ca.crt": ca, "tls.crt": cert}, sourcev1.AuthenticationFailedReason, "tls.crt and tls.key"},
		{"back", map[string]string{"ca.crt": ca, "tls.crt": cert, "tls.key": key}, "", ""},
		{"a server of another authority", map[string]string{"ca.crt": other, "tls.crt": cert, "tls.key": key}, sourcev1.GitOperationFailedReason, "ca.crt"},
	} {
		t.Run(step.name, func(t *testing.T) {
			b.secretReplace("git", step.secret)
			if step.reason == "" {
				b.ready("main@sha1:" + first)
				return
			}
			b.failed(step.reason, step.says)
		})
	}
	canary.NotInCluster(t, b.cp, b.named("git"))
}
