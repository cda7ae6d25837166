package vault_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/vault"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// elsewhere mounts an auth method of a real server below team/, with the
// settings, and takes it away with the end of the test.
func elsewhere(t *testing.T, v *testenv.Vault, method string, settings map[string]map[string]any) {
	t.Helper()
	must(t, v.Call(t.Context(), http.MethodPost, "sys/auth/team/"+method, map[string]string{"type": method}, nil))
	t.Cleanup(func() {
		if err := v.Call(context.WithoutCancel(t.Context()), http.MethodDelete, "sys/auth/team/"+method, nil, nil); err != nil {
			t.Errorf("disable team/%s: %v", method, err)
		}
	})
	for path, in := range settings {
		must(t, v.Call(t.Context(), http.MethodPost, "auth/team/"+method+"/"+path, in, nil))
	}
}

// TestOtherMounts logs in at methods that are not where they are as a rule. A
// directory is in TestLDAP.
func TestOtherMounts(t *testing.T) {
	v, cp := server.Get(t), cluster.Get(t)
	ns := cp.Namespace(t)
	canary := plant(t, v, "mounts/app")
	must(t, v.Call(t.Context(), http.MethodPost, "sys/policies/acl/mounts", map[string]string{"policy": testenv.Allow("secret/data/mounts/*")}, nil))
	cert, key := clientCertificate(t, "mounts")
	refs := &conformance.References{TokenFn: func(ctx context.Context, account string, audiences []string) (string, error) {
		return cp.Token(ctx, ns, account, audiences...)
	}}
	refs.Set("p", "password", "of-another-mount")
	refs.Set("c", "tls.crt", cert)
	refs.Set("c", "tls.key", key)
	issuer := map[string]any{"oidc_discovery_url": cp.Issuer(), "oidc_discovery_ca_pem": string(cp.CA()), "bound_issuer": cp.Issuer()}
	role := map[string]any{"role_type": "jwt", "user_claim": "sub", "bound_audiences": []string{"other"}, "token_policies": "mounts"}
	cases := map[string]struct {
		field    string
		settings map[string]map[string]any // of the method
		auth     map[string]any
	}{
		"userpass": {"userPass", map[string]map[string]any{"users/ann": {"password": "of-another-mount", "token_policies": "mounts"}},
			map[string]any{"username": "ann", "secretRef": selector("p", "password")}},
		"cert": {"cert", map[string]map[string]any{"certs/app": {"certificate": cert, "token_policies": "mounts"}},
			map[string]any{"clientCert": selector("c", ""), "secretRef": selector("c", "")}}, // the role is the one that matches
	}
	for method, tc := range cases {
		t.Run(method, func(t *testing.T) {
			elsewhere(t, v, method, tc.settings)
			tc.auth["path"] = "/team/" + method + "/"
			wantLogin(t, store(t, settings(v, map[string]any{tc.field: tc.auth}), refs), "mounts/app", canary, "")
		})
	}
	t.Run("jwt", func(t *testing.T) {
		elsewhere(t, v, "jwt", nil)
		must(t, v.Call(t.Context(), http.MethodPost, "auth/team/jwt/config", issuer, nil))
		must(t, v.Call(t.Context(), http.MethodPost, "auth/team/jwt/role/app", role, nil))
		auth := map[string]any{"path": "team/jwt", "role": "app", "kubernetesServiceAccountToken": map[string]any{"serviceAccountRef": map[string]any{"name": "app", "audiences": []string{"other"}}}}
		wantLogin(t, store(t, settings(v, map[string]any{"jwt": auth}), refs), "mounts/app", canary, "")
		if got := strings.Join(refs.Audiences(), " "); got != "other vault" {
			t.Errorf("audiences: %q, want that of the ServiceAccount reference and, as in External Secrets, vault", got)
		}
	})
	t.Run("approle", func(t *testing.T) {
		elsewhere(t, v, "approle", map[string]map[string]any{"role/app": {"token_policies": "mounts"}})
		must(t, v.Call(t.Context(), http.MethodPost, "auth/team/approle/role/app/custom-secret-id", map[string]any{"secret_id": "of-another-mount"}, nil))
		must(t, v.Call(t.Context(), http.MethodPost, "auth/team/approle/role/app/role-id", map[string]any{"role_id": "of-the-role"}, nil))
		auth := map[string]any{"path": "team/approle", "roleId": "of-the-role", "secretRef": selector("p", "password")}
		wantLogin(t, store(t, settings(v, map[string]any{"appRole": auth}), refs), "mounts/app", canary, "")
	})
}

// TestClientCertificate has a proxy that lets nobody through to a real server
// without a certificate: the login needs it, and so does a read.
func TestClientCertificate(t *testing.T) {
	v := server.Get(t)
	canary := plant(t, v, "mtls/app")
	cert, key := clientCertificate(t, "mtls")
	proxy := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) == 0 || r.TLS.PeerCertificates[0].Subject.CommonName != "mtls" {
			fixed(http.StatusForbidden, "a certificate is needed")(w, r)
			return
		}
		relay(t, v, w, r)
	}))
	proxy.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	proxy.StartTLS()
	t.Cleanup(proxy.Close)
	role, secret, err := v.AppRole(t.Context(), testenv.VaultRole{Name: "mtls", Policy: testenv.Allow("secret/data/mtls/*")})
	must(t, err)
	refs := &conformance.References{Authority: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: proxy.Certificate().Raw})}
	for path, value := range map[string]string{"r/id": role, "s/id": secret, "c/tls.crt": cert, "c/tls.key": key} {
		name, key, _ := strings.Cut(path, "/")
		refs.Set(name, key, value)
	}
	with := settings(v, byAppRole)
	with["server"], with["tls"] = proxy.URL, map[string]any{"certSecretRef": selector("c", ""), "keySecretRef": selector("c", "")}
	for name, authority := range map[string]any{
		"caBundle": refs.Authority, "caProvider": map[string]string{"type": "Secret", "name": "ca", "key": "ca.crt"},
		// As External Secrets takes it, too.
		"encoded twice": []byte(base64.StdEncoding.EncodeToString(refs.Authority)),
	} {
		t.Run(name, func(t *testing.T) {
			delete(with, "caBundle")
			delete(with, "caProvider")
			field, _, _ := strings.Cut(strings.ReplaceAll(name, "encoded", "caBundle"), " ")
			with[field] = authority
			r, err := vault.Open(t.Context(), store(t, with, refs))
			must(t, err)
			mustRead(t, r, "mtls/app", canary)
		})
	}
	delete(with, "tls")
	if _, err := vault.Open(t.Context(), store(t, with, refs)); !errors.Is(err, providers.ErrDenied) {
		t.Errorf("Open without a certificate: got %v, want ErrDenied", err)
	}
}
