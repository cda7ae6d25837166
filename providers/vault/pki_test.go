package vault_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"

	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// unmounted takes an engine away with the end of the test.
func unmounted(t *testing.T, v *testenv.Vault, path string) {
	t.Helper()
	t.Cleanup(func() {
		if err := v.Call(context.WithoutCancel(t.Context()), http.MethodDelete, "sys/mounts/"+path, nil, nil); err != nil {
			t.Errorf("unmount %s: %v", path, err)
		}
	})
}

// TestCertificate has the PKI engine of a real server make certificates.
func TestCertificate(t *testing.T) {
	v := server.Get(t)
	call := func(path string, in map[string]any, out any) {
		t.Helper()
		must(t, v.Call(t.Context(), http.MethodPost, path, in, out))
	}
	call("sys/mounts/certs", map[string]any{"type": "pki", "config": map[string]string{"max_lease_ttl": "24h"}}, nil)
	unmounted(t, v, "certs")
	var root struct {
		Data struct {
			Certificate string `json:"certificate"`
		} `json:"data"`
	}
	call("certs/root/generate/internal", map[string]any{"common_name": "Team", "ttl": "20h", "key_type": "ec", "key_bits": 256}, &root)
	call("certs/roles/web", map[string]any{"allowed_domains": "team.example.com", "allow_subdomains": true, "max_ttl": "1h", "key_type": "ec", "key_bits": 256, "generate_lease": true}, nil)
	m := newMaker(t, v, testenv.VaultRole{Name: "certs", TTL: 2 * time.Hour, Policy: `path "certs/issue/web" { capabilities = ["create", "update"] }`})
	issue := func(parameters string) (providers.Made, error) {
		return m.make(genv1.VaultDynamicSecretSpec{Path: "certs/issue/web", Method: "POST", Parameters: &runtime.RawExtension{Raw: []byte(parameters)}})
	}

	made, err := issue(`{"common_name":"a.team.example.com","ttl":"10m"}`)
	must(t, err)
	wantEnd(t, made, 10*time.Minute)
	pair, err := tls.X509KeyPair(made.Values["certificate"].Bytes(), made.Values["private_key"].Bytes())
	must(t, err)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(root.Data.Certificate)) {
		t.Fatal("the engine gave no root")
	}
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "a.team.example.com"}); err != nil {
		t.Errorf("the certificate is not one of the engine: %v", err)
	}
	again, err := issue(`{"common_name":"a.team.example.com","ttl":"10m"}`)
	must(t, err)
	if again.Values["serial_number"].Equal(made.Values["serial_number"]) {
		t.Error("two certificates have the same number")
	}
	if _, err := issue(`{"common_name":"elsewhere.example.net"}`); !errors.Is(err, providers.ErrInvalid) || strings.Contains(err.Error(), "elsewhere") {
		t.Errorf("a name that the role does not allow: got %v, want ErrInvalid that does not repeat what Vault says", err)
	}
}

// TestDynamicSecretQuery reads with parameters in the query, and tries methods
// and parts of an answer that have nothing.
func TestDynamicSecretQuery(t *testing.T) {
	v := server.Get(t)
	must(t, v.Mount(t.Context(), "versions", 2))
	unmounted(t, v, "versions")
	for _, value := range []string{"old", "new"} {
		must(t, v.Call(t.Context(), http.MethodPost, "versions/data/app", map[string]any{"data": map[string]string{"v": value}}, nil))
	}
	m := newMaker(t, v, testenv.VaultRole{Name: "query", Policy: `path "versions/*" { capabilities = ["read", "delete"] }`})
	made, err := m.make(genv1.VaultDynamicSecretSpec{Path: "versions/data/app", GetParameters: map[string][]string{"version": {"1"}}})
	if got := string(made.Values["data"].Bytes()); err != nil || got != `{"v":"old"}` {
		t.Errorf("version 1: got %s, %v, want the old one", got, err)
	}
	spec := genv1.VaultDynamicSecretSpec{Path: "versions/data/app", ResultType: genv1.VaultResultAuth}
	if _, err := m.make(spec); !errors.Is(err, providers.ErrInvalid) || !strings.Contains(err.Error(), "resultType") {
		t.Errorf("auth of what has none: got %v, want ErrInvalid with the way out", err)
	}
	spec.AllowEmptyResponse = true
	if made, err := m.make(spec); err != nil || len(made.Values) != 0 {
		t.Errorf("auth of what has none, which is allowed: got %d values, %v", len(made.Values), err)
	}
}
