package vault_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/vault"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// maker logs in with an AppRole, and makes values as specs say.
type maker struct {
	t        *testing.T
	provider *esv1.VaultProvider
	refs     *conformance.References
}

func newMaker(t *testing.T, v *testenv.Vault, r testenv.VaultRole) maker {
	t.Helper()
	role, secret, err := v.AppRole(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	refs := &conformance.References{}
	refs.Set("s", "id", secret)
	return maker{t, &esv1.VaultProvider{Server: v.Address(), CABundle: v.CA, Auth: &esv1.VaultAuth{AppRole: &esv1.VaultAppRole{
		RoleID: role, SecretRef: esv1.SecretKeySelector{Name: "s", Key: "id"}}}}, refs}
}

func (m maker) make(spec genv1.VaultDynamicSecretSpec) (providers.Made, error) {
	m.t.Helper()
	spec.Provider = m.provider
	return vault.Generators()[genv1.VaultDynamicSecretKind](m.t.Context(), &spec, providers.Config{References: m.refs})
}

const makes = `
path "auth/token/create" { capabilities = ["update"] }
path "sys/tools/random/*" { capabilities = ["update"] }
path "lease/*" { capabilities = ["read", "list"] }
path "cubbyhole/*" { capabilities = ["create", "read", "delete"] }
path "nothing/*" { capabilities = ["read"] }
`

// wantEnd fails t unless made ends after about so long.
func wantEnd(t *testing.T, made providers.Made, after time.Duration) {
	t.Helper()
	if left := time.Until(made.Until); left > after || left < after-30*time.Second {
		t.Errorf("it ends in %s, want %s", left, after)
	}
}

// TestDynamicSecret asks a real server for a token, for random bytes, and for
// secrets with a lease.
func TestDynamicSecret(t *testing.T) {
	v := server.Get(t)
	m := newMaker(t, v, testenv.VaultRole{Name: "dynamic", Policy: makes, TTL: 20 * time.Minute})
	must(t, v.Mount(t.Context(), "lease", 1))
	unmounted(t, v, "lease")
	for path, ttl := range map[string]string{"short": "5m", "long": "10h"} {
		if err := v.Call(t.Context(), http.MethodPost, "lease/"+path, map[string]any{"user": "ada", "ttl": ttl, "port": 5432}, nil); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("Token", func(t *testing.T) {
		made, err := m.make(genv1.VaultDynamicSecretSpec{Path: "auth/token/create", Method: "POST", ResultType: genv1.VaultResultAuth,
			Parameters: &runtime.RawExtension{Raw: []byte(`{"ttl":"10m","policies":["default"]}`)}})
		if err != nil {
			t.Fatal(err)
		}
		wantEnd(t, made, 10*time.Minute)
		refs := &conformance.References{}
		refs.Set("t", "t", string(made.Values["client_token"].Bytes()))
		if _, err := vault.Open(t.Context(), store(t, settings(v, map[string]any{"tokenSecretRef": map[string]string{"name": "t", "key": "t"}}), refs)); err != nil {
			t.Errorf("a store with the token: %v", err)
		}
	})
	t.Run("Lease", func(t *testing.T) {
		made, err := m.make(genv1.VaultDynamicSecretSpec{Path: "lease/short"})
		if err != nil {
			t.Fatal(err)
		}
		wantEnd(t, made, 5*time.Minute)
		if user, port := string(made.Values["user"].Bytes()), string(made.Values["port"].Bytes()); user != "ada" || port != "5432" {
			t.Errorf("got user %q and port %q, want ada and 5432", user, port)
		}
	})
	t.Run("EndsWithItsToken", func(t *testing.T) {
		made, err := m.make(genv1.VaultDynamicSecretSpec{Path: "/lease/long", Method: "get"})
		if err != nil {
			t.Fatal(err)
		}
		wantEnd(t, made, 20*time.Minute)
	})
	t.Run("Raw", func(t *testing.T) {
		made, err := m.make(genv1.VaultDynamicSecretSpec{Path: "lease/short", ResultType: genv1.VaultResultRaw})
		if err != nil || string(made.Values["lease_duration"].Bytes()) != "300" || !strings.Contains(string(made.Values["data"].Bytes()), `"user"`) {
			t.Errorf("got %d values, %v, want the whole answer", len(made.Values), err)
		}
	})
	t.Run("List", func(t *testing.T) {
		made, err := m.make(genv1.VaultDynamicSecretSpec{Path: "lease/", Method: "LIST"})
		if keys := string(made.Values["keys"].Bytes()); err != nil || keys != `["long","short"]` {
			t.Errorf("got %s, %v, want the names", keys, err)
		}
	})
	t.Run("Random", func(t *testing.T) {
		made, err := m.make(genv1.VaultDynamicSecretSpec{Path: "sys/tools/random/32", Method: "PUT", Parameters: &runtime.RawExtension{Raw: []byte(`{"format":"hex"}`)}})
		if err != nil || len(made.Values["random_bytes"].Bytes()) != 64 {
			t.Errorf("got %d characters, %v, want 64", len(made.Values["random_bytes"].Bytes()), err)
		}
	})
	t.Run("Nothing", func(t *testing.T) {
		spec := genv1.VaultDynamicSecretSpec{Path: "cubbyhole/none", Method: "DELETE"}
		if _, err := m.make(spec); !errors.Is(err, providers.ErrInvalid) || !strings.Contains(err.Error(), "allowEmptyResponse") {
			t.Errorf("got %v, want ErrInvalid with the way out", err)
		}
		spec.AllowEmptyResponse = true
		if made, err := m.make(spec); err != nil || made.Values == nil || len(made.Values) > 0 {
			t.Errorf("got %v, %v, want no values and no error", made.Values, err)
		}
	})
}

func TestDynamicSecretRefuses(t *testing.T) {
	v := server.Get(t)
	m := newMaker(t, v, testenv.VaultRole{Name: "refused", Policy: makes})
	for name, tc := range map[string]struct {
		spec genv1.VaultDynamicSecretSpec
		want error
		text string
	}{
		"NoRight":    {genv1.VaultDynamicSecretSpec{Path: "sys/mounts"}, providers.ErrDenied, "add it to the policy"},
		"NoEngine":   {genv1.VaultDynamicSecretSpec{Path: "nothing/creds/app"}, providers.ErrDenied, "enable the engine"},
		"NoSecret":   {genv1.VaultDynamicSecretSpec{Path: "cubbyhole/none"}, providers.ErrInvalid, "has no"},
		"Method":     {genv1.VaultDynamicSecretSpec{Path: "a", Method: "PURGE"}, providers.ErrInvalid, "spec.method"},
		"Path":       {genv1.VaultDynamicSecretSpec{Path: "a/../b"}, providers.ErrInvalid, "spec.path"},
		"Parameters": {genv1.VaultDynamicSecretSpec{Path: "a", Method: "POST", Parameters: &runtime.RawExtension{Raw: []byte(`[]`)}}, providers.ErrInvalid, "spec.parameters"},
		"Result":     {genv1.VaultDynamicSecretSpec{Path: "sys/tools/random/8", Method: "POST", ResultType: "Some"}, providers.ErrInvalid, "spec.resultType"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := m.make(tc.spec); !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %v, want %v with %q", err, tc.want, tc.text)
			}
		})
	}
}
