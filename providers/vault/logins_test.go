package vault_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/vault"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// enable enables an auth method once, and gives the policy of its name the
// right to read what is below the folder of that name.
func enable(t *testing.T, v *testenv.Vault, method string) *testenv.Canary {
	t.Helper()
	var enabled map[string]any
	if err := v.Call(t.Context(), http.MethodGet, "sys/auth", nil, &enabled); err != nil {
		t.Fatal(err)
	}
	if enabled[method+"/"] == nil {
		must(t, v.Call(t.Context(), http.MethodPost, "sys/auth/"+method, map[string]string{"type": method}, nil))
	}
	must(t, v.Call(t.Context(), http.MethodPost, "sys/policies/acl/"+method, map[string]string{"policy": testenv.Allow("secret/data/" + method + "/*")}, nil))
	return plant(t, v, method+"/app")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantLogin opens a store, and wants it to read the canary at path; or, with
// denied, not to be let in and to say so without the credentials.
func wantLogin(t *testing.T, config providers.Config, path string, c *testenv.Canary, denied string) {
	t.Helper()
	r, err := vault.Open(t.Context(), config)
	if denied != "" {
		if !errors.Is(err, providers.ErrDenied) || strings.Contains(err.Error(), denied) {
			t.Errorf("Open: got %v, want ErrDenied without the credentials", err)
		}
		return
	}
	must(t, err)
	mustRead(t, r, path, c)
}

func TestUserPass(t *testing.T) {
	v := server.Get(t)
	canary := enable(t, v, "userpass")
	must(t, v.Call(t.Context(), http.MethodPost, "auth/userpass/users/bob", map[string]any{"password": "builder-of-things", "token_policies": "userpass"}, nil))
	auth := map[string]any{"userPass": map[string]any{"username": "bob", "secretRef": map[string]string{"name": "p", "key": "password"}}}
	for password, denied := range map[string]string{"builder-of-things\n": "", "breaker-of-things": "breaker-of-things"} {
		refs := &conformance.References{}
		refs.Set("p", "password", password)
		wantLogin(t, store(t, settings(v, auth), refs), "userpass/app", canary, denied)
	}
}

func TestJWT(t *testing.T) {
	v, cp := server.Get(t), cluster.Get(t)
	ns := cp.Namespace(t)
	canary := enable(t, v, "jwt")
	must(t, v.Call(t.Context(), http.MethodPost, "auth/jwt/config", map[string]any{
		"oidc_discovery_url": cp.Issuer(), "oidc_discovery_ca_pem": string(cp.CA()), "bound_issuer": cp.Issuer()}, nil))
	must(t, v.Call(t.Context(), http.MethodPost, "auth/jwt/role/app", map[string]any{
		"role_type": "jwt", "user_claim": "sub", "bound_audiences": []string{"vault"}, "bound_subject": "system:serviceaccount:" + ns + ":app", "token_policies": "jwt"}, nil))
	cases := map[string]struct {
		reason, account string
		audiences       []string
		secret          bool
		denied          bool
	}{
		"Account":       {reason: "The ServiceAccount of the role gets in.", account: "app"},
		"TokenOfSecret": {reason: "So does a token of it in a Secret.", account: "app", secret: true},
		"Other":         {reason: "Another one does not.", account: "other", denied: true},
		"Audience":      {reason: "Nor does it with a token for someone else.", account: "app", audiences: []string{"someone-else"}, denied: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			refs := &conformance.References{TokenFn: func(ctx context.Context, account string, audiences []string) (string, error) {
				return cp.Token(ctx, ns, account, audiences...)
			}}
			jwt := map[string]any{"role": "app", "kubernetesServiceAccountToken": map[string]any{
				"serviceAccountRef": map[string]any{"name": tc.account}, "audiences": tc.audiences}}
			if tc.secret {
				token, err := cp.Token(t.Context(), ns, tc.account, "vault")
				must(t, err)
				refs.Set("k", "token", token)
				jwt = map[string]any{"role": "app", "secretRef": map[string]string{"name": "k"}}
			}
			denied := ""
			if tc.denied {
				denied = "eyJ"
			}
			wantLogin(t, store(t, settings(v, map[string]any{"jwt": jwt}), refs), "jwt/app", canary, denied)
		})
	}
}

// clientCertificate makes a self-signed certificate and its key, as PEM.
func clientCertificate(t *testing.T, name string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	must(t, err)
	text, err := x509.MarshalPKCS8PrivateKey(k)
	must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text}))
}

func TestCert(t *testing.T) {
	v := server.Get(t)
	canary := enable(t, v, "cert")
	cert, key := clientCertificate(t, "app")
	must(t, v.Call(t.Context(), http.MethodPost, "auth/cert/certs/app", map[string]any{"certificate": cert, "token_policies": "cert"}, nil))
	otherCert, otherKey := clientCertificate(t, "other")
	auth := map[string]any{"cert": map[string]any{"vaultRole": "app", "clientCert": map[string]string{"name": "c"}, "secretRef": map[string]string{"name": "c"}}}
	for _, tc := range []struct{ cert, key, denied string }{{cert, key, ""}, {otherCert, otherKey, "PRIVATE"}} {
		refs := &conformance.References{}
		refs.Set("c", "tls.crt", tc.cert)
		refs.Set("c", "tls.key", tc.key)
		wantLogin(t, store(t, settings(v, auth), refs), "cert/app", canary, tc.denied)
	}
}

func TestNamespaces(t *testing.T) {
	v := server.Get(t)
	must(t, v.Call(t.Context(), http.MethodPost, "sys/namespaces/team-a", map[string]any{}, nil))
	must(t, v.Call(t.Context(), http.MethodPost, "team-a/sys/mounts/kv", map[string]any{"type": "kv", "options": map[string]string{"version": "1"}}, nil))
	canary := testenv.NewCanary(t)
	must(t, v.Call(t.Context(), http.MethodPost, "team-a/kv/app", map[string]string{"password": canary.Value()}, nil))
	refs := &conformance.References{}
	refs.Set("t", "t", v.RootToken)
	with := settings(v, map[string]any{"tokenSecretRef": map[string]string{"name": "t", "key": "t"}})
	with["path"], with["version"], with["namespace"] = "kv", "v1", "team-a"
	wantLogin(t, store(t, with, refs), "app", canary, "")
	with["namespace"] = "team-b"
	r, err := vault.Open(t.Context(), store(t, with, refs))
	must(t, err)
	if _, err := r.Read(t.Context(), providers.Ref{Path: "app"}); err == nil || errors.Is(err, providers.ErrNotFound) {
		t.Errorf("Read in a namespace that is not there: got %v, want an error that is not ErrNotFound", err)
	}
}

// wrapped asks for what path gives, wrapped, and returns the wrapping token.
func wrapped(t *testing.T, v *testenv.Vault, path string, in map[string]any) string {
	t.Helper()
	var out struct {
		WrapInfo struct {
			Token string `json:"token"`
		} `json:"wrap_info"`
	}
	must(t, v.CallWrapped(t.Context(), path, in, &out))
	if out.WrapInfo.Token == "" {
		t.Fatal("nothing was wrapped")
	}
	return out.WrapInfo.Token
}

func TestWrappedToken(t *testing.T) {
	v := server.Get(t)
	canary := plant(t, v, "wrapped/app")
	role := testenv.VaultRole{Name: "wrapped", Policy: testenv.Allow("secret/data/wrapped/*")}
	_, err := v.Token(t.Context(), role) // writes the policy
	must(t, err)
	refs := &conformance.References{}
	refs.Set("t", "t", wrapped(t, v, "auth/token/create", map[string]any{"policies": []string{"wrapped"}}))
	config := store(t, settings(v, map[string]any{"tokenSecretRef": map[string]string{"name": "t", "key": "t"}}), refs)
	r, err := vault.Open(t.Context(), config)
	must(t, err)
	for range 3 {
		mustRead(t, r, "wrapped/app", canary)
	}
	again, err := vault.Open(t.Context(), config)
	must(t, err)
	if _, err := again.Read(t.Context(), providers.Ref{Path: "wrapped/app"}); !errors.Is(err, providers.ErrDenied) {
		t.Errorf("Read with a wrapping token that was used: got %v, want ErrDenied", err)
	}
}

func TestWrappedSecretID(t *testing.T) {
	v := server.Get(t)
	canary := plant(t, v, "wrappedid/app")
	roleID, _, err := v.AppRole(t.Context(), testenv.VaultRole{Name: "wrappedid", Policy: testenv.Allow("secret/data/wrappedid/*"), TTL: 2 * time.Second})
	must(t, err)
	refs := &conformance.References{}
	refs.Set("r", "id", roleID)
	refs.Set("s", "id", wrapped(t, v, "auth/approle/role/wrappedid/secret-id", nil))
	r, err := vault.Open(t.Context(), store(t, settings(v, byAppRole), refs))
	must(t, err)
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		mustRead(t, r, "wrappedid/app", canary) // and logs in again in between
	}
}

// TestReadYourWrites has a server give and check the headers with which Vault
// Enterprise sees to it that a standby knows what was written: OpenBao and the
// Vault that is free have no such.
func TestReadYourWrites(t *testing.T) {
	var got []string
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			fixed(400, `{"errors":["wrapping token is not valid or does not exist"]}`)(w, r)
			return
		}
		got = append(got, r.Header.Get("X-Vault-Index")+"/"+r.Header.Get("X-Vault-Inconsistent")+"/"+r.Header.Get("X-Team"))
		w.Header().Set("X-Vault-Index", state)
		fixed(200, kv(`{"a":"b"}`))(w, r)
	})
	refs := &conformance.References{}
	refs.Set("t", "t", "token")
	for _, tc := range []struct {
		set  string
		want []string // by each of two reads
	}{
		{"", []string{"//", "//"}},
		{"readYourWrites", []string{"//", state + "//"}},
		{"forwardInconsistent", []string{"/forward-active-node/", state + "/forward-active-node/"}}, // means nothing without the other
		{"readYourWrites forwardInconsistent headers", []string{"/forward-active-node/a", state + "/forward-active-node/a"}},
	} {
		got = nil
		with := byToken(server.URL)
		with["readYourWrites"], with["forwardInconsistent"] = strings.Contains(tc.set, "readYourWrites"), strings.Contains(tc.set, "forwardInconsistent")
		if strings.Contains(tc.set, "headers") {
			with["headers"] = map[string]string{"x-team": "a"}
		}
		r, err := vault.Open(t.Context(), store(t, with, refs))
		must(t, err)
		for range 2 {
			_, err := r.Read(t.Context(), providers.Ref{Path: "app"})
			must(t, err)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: got headers %q, want %q", tc.set, got, tc.want)
		}
	}
}
