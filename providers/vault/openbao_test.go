package vault_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strings"
	"testing"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/vault"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// openBao makes the config of a store of the provider openBao.
func openBao(t *testing.T, settings map[string]any, refs providers.References) providers.Config {
	t.Helper()
	text, err := json.Marshal(map[string]any{"openBao": settings})
	must(t, err)
	var p esv1.SecretStoreProvider
	must(t, json.Unmarshal(text, &p))
	return providers.Config{Provider: &p, References: refs}
}

func TestOpenBao(t *testing.T) {
	v := server.Get(t)
	canary := plant(t, v, "openbao/app")
	token, err := v.Token(t.Context(), testenv.VaultRole{Name: "openbao", Policy: testenv.Allow("secret/data/openbao/*")})
	must(t, err)
	refs := &conformance.References{}
	refs.Set("t", "t", token)
	with := settings(v, map[string]any{"tokenSecretRef": map[string]string{"name": "t", "key": "t"}})
	r, err := vault.OpenBao(t.Context(), openBao(t, with, refs))
	must(t, err)
	mustRead(t, r, "openbao/app", canary)
	if _, err := r.Read(t.Context(), providers.Ref{Path: "openbao/none"}); !errors.Is(err, providers.ErrNotFound) || !strings.Contains(err.Error(), "OpenBao at "+v.Address()) {
		t.Errorf("Read of what is not there: got %v, want ErrNotFound in the words of OpenBao", err)
	}
}

// waysIntoOpenBao makes, for each way in that a store of openBao has, what it
// needs for a role, puts that into refs and returns the settings of auth.
var waysIntoOpenBao = map[string]func(t *testing.T, v *testenv.Vault, role testenv.VaultRole, refs *conformance.References) map[string]any{
	"Token": func(t *testing.T, v *testenv.Vault, role testenv.VaultRole, refs *conformance.References) map[string]any {
		t.Helper()
		token, err := v.Token(t.Context(), role)
		must(t, err)
		refs.Set("t", "t", token)
		return map[string]any{"tokenSecretRef": selector("t", "t")}
	},
	"AppRole": func(t *testing.T, v *testenv.Vault, role testenv.VaultRole, refs *conformance.References) map[string]any {
		t.Helper()
		id, secret, err := v.AppRole(t.Context(), role)
		must(t, err)
		refs.Set("t", "t", secret)
		return map[string]any{"appRole": map[string]any{"roleId": id, "secretRef": selector("t", "t")}}
	},
	"Kubernetes": func(t *testing.T, v *testenv.Vault, role testenv.VaultRole, refs *conformance.References) map[string]any {
		t.Helper()
		cp := cluster.Get(t)
		ns := cp.Namespace(t)
		must(t, v.KubernetesRole(t.Context(), cp, role, testenv.VaultSubject{Namespace: ns, Name: "app", Audience: "vault"}))
		refs.TokenFn = func(ctx context.Context, account string, audiences []string) (string, error) {
			token, err := cp.Token(ctx, ns, account, audiences...)
			refs.Set("t", "t", token)
			return token, err
		}
		return map[string]any{"kubernetes": map[string]any{"role": role.Name, "serviceAccountRef": selector("app", "")}}
	},
	"UserPass": func(t *testing.T, v *testenv.Vault, role testenv.VaultRole, refs *conformance.References) map[string]any {
		t.Helper()
		enable(t, v, "userpass")
		_, err := v.Token(t.Context(), role) // writes the policy
		must(t, err)
		refs.Set("t", "t", "of-the-suite-of-openbao")
		must(t, v.Call(t.Context(), http.MethodPost, "auth/userpass/users/suite", map[string]any{"password": "of-the-suite-of-openbao", "token_policies": role.Name}, nil))
		return map[string]any{"userPass": map[string]any{"username": "suite", "secretRef": selector("t", "t")}}
	},
}

// TestConformanceOfOpenBao runs the suite on a store of the provider openBao at
// a real OpenBao, once for each way in.
func TestConformanceOfOpenBao(t *testing.T) {
	for name, in := range waysIntoOpenBao {
		t.Run(name, func(t *testing.T) {
			conformance.Test(t, func(t *testing.T) conformance.Backend {
				t.Helper()
				v, refs := server.Get(t), &conformance.References{}
				mount := "suite-" + strings.ToLower(name)
				must(t, v.Mount(t.Context(), mount, 2))
				unmounted(t, v, mount)
				role := testenv.VaultRole{Name: mount, Policy: all(mount+"/data/conformance/*", mount+"/metadata/conformance/*")}
				with := settings(v, in(t, v, role, refs))
				with["path"] = mount
				r, err := vault.OpenBao(t.Context(), openBao(t, with, refs))
				must(t, err)
				credential, err := refs.Secret(t.Context(), esv1.SecretKeySelector{Name: "t", Key: "t"})
				must(t, err)
				return versioned(v, mount, r, []string{string(credential.Bytes())})
			})
		})
	}
}

func TestOpenBaoRefuses(t *testing.T) {
	ref := map[string]string{"name": "none", "key": "t"}
	cases := map[string]struct {
		reason string
		change map[string]any
		field  string
	}{
		"Server":  {"An address is a URL.", map[string]any{"server": "openbao:8200"}, "server"},
		"Secret":  {"What is missing is named by the field that refers to it.", map[string]any{"auth": map[string]any{"tokenSecretRef": ref}}, "auth.tokenSecretRef"},
		"Several": {"There is one way in.", map[string]any{"auth": map[string]any{"tokenSecretRef": ref, "userPass": map[string]any{"username": "u", "secretRef": ref}}}, "auth"},
		"Empty":   {"And not none.", map[string]any{"auth": map[string]any{}}, "auth"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			with := map[string]any{"server": "https://127.0.0.1:1"}
			maps.Copy(with, tc.change)
			_, err := vault.OpenBao(t.Context(), openBao(t, with, &conformance.References{}))
			if !errors.Is(err, providers.ErrInvalid) || !strings.Contains(err.Error(), "spec.provider.openBao."+tc.field) || strings.Contains(err.Error(), "spec.provider.vault") {
				t.Errorf("%s\nOpen: got %v, want ErrInvalid with spec.provider.openBao.%s in it", tc.reason, err, tc.field)
			}
		})
	}
}
