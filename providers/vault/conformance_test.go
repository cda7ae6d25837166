package vault_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/vault"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// all may do everything below the paths.
func all(paths ...string) string {
	var b strings.Builder
	for _, p := range paths {
		b.WriteString("path \"" + p + "\" { capabilities = [\"create\", \"read\", \"update\", \"delete\", \"list\"] }\n")
	}
	return b.String()
}

// data reads an object as Vault takes it.
func data(object string) (map[string]any, error) {
	d := json.NewDecoder(strings.NewReader(object))
	d.UseNumber()
	var data map[string]any
	err := d.Decode(&data)
	return data, err
}

// versioned is a store of the engine of version 2 at mount, for the suite.
func versioned(v *testenv.Vault, mount string, r providers.Reader, credentials []string) conformance.Backend {
	return conformance.Backend{
		Reader: r, MissingVersion: "1000", Denied: "elsewhere/denied", Credentials: credentials, Folder: "conformance/find",
		Put: func(ctx context.Context, path, object string) (string, error) {
			data, err := data(object)
			if err != nil {
				return "", err
			}
			var out struct {
				Data struct {
					Version int `json:"version"`
				} `json:"data"`
			}
			err = v.Call(ctx, http.MethodPost, mount+"/data/"+path, map[string]any{"data": data}, &out)
			return strconv.Itoa(out.Data.Version), err
		},
		Tag: func(ctx context.Context, path string, tags map[string]string) error {
			return v.Call(ctx, http.MethodPost, mount+"/metadata/"+path, map[string]any{"custom_metadata": tags}, nil)
		},
	}
}

func TestConformance(t *testing.T) {
	conformance.Test(t, func(t *testing.T) conformance.Backend {
		t.Helper()
		v := server.Get(t)
		r, credentials := logIn(t, v, testenv.VaultRole{Name: "conformance",
			Policy: all("secret/data/conformance/*", "secret/metadata/conformance/*")})
		return versioned(v, "secret", r, credentials)
	})
}

func TestConformanceOfVersion1(t *testing.T) {
	conformance.Test(t, func(t *testing.T) conformance.Backend {
		t.Helper()
		v := server.Get(t)
		must(t, v.Mount(t.Context(), "first", 1))
		unmounted(t, v, "first")
		role, secret, err := v.AppRole(t.Context(), testenv.VaultRole{Name: "first", Policy: all("first/conformance/*")})
		if err != nil {
			t.Fatal(err)
		}
		refs := &conformance.References{}
		refs.Set("r", "id", role)
		refs.Set("s", "id", secret)
		with := settings(v, byAppRole)
		with["path"], with["version"] = "first", "v1"
		r, err := vault.Open(t.Context(), store(t, with, refs))
		if err != nil {
			t.Fatal(err)
		}
		return conformance.Backend{
			Reader: r, Denied: "elsewhere/denied", Credentials: []string{role, secret}, Folder: "conformance/find",
			Put: func(ctx context.Context, path, object string) (string, error) {
				data, err := data(object)
				if err != nil {
					return "", err
				}
				return "", v.Call(ctx, http.MethodPost, "first/"+path, data, nil)
			},
		}
	})
}
