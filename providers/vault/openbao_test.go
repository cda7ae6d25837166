package vault_test

import (
	"encoding/json"
	"errors"
	"maps"
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
