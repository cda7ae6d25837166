package vault_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/vault"
	"github.com/lockstep-dev/lockstep/test/fields"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// asRoot opens a store of an engine of a real server that may do everything.
func asRoot(t *testing.T, v *testenv.Vault, mount, version string) providers.Writer {
	t.Helper()
	refs := &conformance.References{}
	refs.Set("t", "t", v.RootToken)
	with := settings(v, map[string]any{"tokenSecretRef": selector("t", "t")})
	with["path"], with["version"] = mount, version
	r, err := vault.Open(t.Context(), store(t, with, refs))
	must(t, err)
	return r.(providers.Writer)
}

// TestMetadata is the inventory of the metadata of a PushSecret, of a secret
// that is made and of one that is changed.
func TestMetadata(t *testing.T) {
	v := server.Get(t)
	must(t, v.Mount(t.Context(), "pushed", 2))
	unmounted(t, v, "pushed")
	w := asRoot(t, v, "pushed", "v2")
	write := func(path string, metadata json.RawMessage) error {
		return w.Write(t.Context(), providers.Target{Path: path}, providers.NewValue([]byte(`{"a":"b"}`)), metadata)
	}
	for name, there := range map[string]bool{"Create": false, "Change": true} {
		t.Run(name, func(t *testing.T) {
			path := strings.ToLower(name)
			served := map[string]conformance.Change{"customMetadata": {"customMetadata": map[string]string{"team": "a"}}}
			table := conformance.Metadata{
				Settings: vault.SecretSettings{}, Served: served, Refused: map[string]conformance.Change{"mergePolicy": {"mergePolicy": "Add"}},
				Trace: func(t *testing.T, metadata json.RawMessage) (string, error) {
					t.Helper()
					must(t, v.Call(t.Context(), http.MethodDelete, "pushed/metadata/"+path, nil, nil))
					if there {
						must(t, write(path, json.RawMessage(`{"customMetadata":{"old":"entry"}}`)))
					}
					if err := write(path, metadata); err != nil {
						return "", err
					}
					var out struct {
						Data struct {
							Custom map[string]string `json:"custom_metadata"`
						} `json:"data"`
					}
					must(t, v.Call(t.Context(), http.MethodGet, "pushed/metadata/"+path, nil, &out))
					if out.Data.Custom[providers.ManagedBy] != providers.ManagedByValue {
						t.Errorf("custom metadata without the mark of a Writer: %v", out.Data.Custom)
					}
					return fmt.Sprint(out.Data.Custom), nil
				},
			}
			if there { // of a secret that is made there is nothing to merge with
				served["mergePolicy"] = conformance.Change{"customMetadata": map[string]string{"team": "a"}, "mergePolicy": "Replace"}
			}
			table.Test(t)
		})
	}
}

// TestMetadataOfVersion1 wants what the engine cannot keep to be told, and the
// value to be written: External Secrets says nothing.
func TestMetadataOfVersion1(t *testing.T) {
	v := server.Get(t)
	must(t, v.Mount(t.Context(), "pushed1", 1))
	unmounted(t, v, "pushed1")
	w := asRoot(t, v, "pushed1", "v1")
	ctx, heard := providers.Listen(t.Context())
	must(t, w.Write(ctx, providers.Target{Path: "app"}, providers.NewValue([]byte(`{"a":"b"}`)), json.RawMessage(`{"customMetadata":{"team":"a"}}`)))
	if got := strings.Join(heard.All(), "\n"); !strings.HasPrefix(got, "metadata.customMetadata: it is not written: ") || strings.Contains(got, "\n") {
		t.Errorf("told %q, want that customMetadata is not written", got)
	}
	if got, err := w.Read(t.Context(), providers.Ref{Path: "app"}); err != nil || string(got.Bytes()) != `{"a":"b"}` {
		t.Errorf("Read: got %s, %v, want what was written", got.Bytes(), err)
	}
	var raw struct {
		Data json.RawMessage `json:"data"`
	}
	must(t, v.Call(t.Context(), http.MethodGet, "pushed1/app", nil, &raw))
	if got := string(raw.Data); got != `{"a":"b","custom_metadata":{"managed-by":"external-secrets"}}` {
		t.Errorf("the secret is %s, want it with the mark of External Secrets", got)
	}
}

// TestMarkOfVersion1 reads secrets that have a mark, or something like it. What
// is not a Writer's is refused to it, with the way out.
func TestMarkOfVersion1(t *testing.T) {
	v := server.Get(t)
	must(t, v.Mount(t.Context(), "marked", 1))
	unmounted(t, v, "marked")
	w := asRoot(t, v, "marked", "v1")
	for secret, want := range map[string]struct {
		read string
		ours bool
	}{
		`{"a":"é","n":9007199254740991,"custom_metadata":{"managed-by":"external-secrets"}}`: {`{"a":"é","n":9007199254740991}`, true},
		`{"a":"b","custom_metadata":{"managed-by":"external-secrets","team":"a"}}`:           {`{"a":"b","custom_metadata":{"managed-by":"external-secrets","team":"a"}}`, true},
		`{"a":"b","custom_metadata":{"managed-by":"someone"}}`:                               {`{"a":"b","custom_metadata":{"managed-by":"someone"}}`, false},
		`{"a":"b","custom_metadata":"text"}`:                                                 {`{"a":"b","custom_metadata":"text"}`, false},
		`{"a":"b"}`:                                                                          {`{"a":"b"}`, false},
	} {
		must(t, v.Call(t.Context(), http.MethodPost, "marked/app", json.RawMessage(secret), nil))
		if got, err := w.Read(t.Context(), providers.Ref{Path: "app"}); err != nil || string(got.Bytes()) != want.read {
			t.Errorf("Read of %s: got %s, %v, want %s", secret, got.Bytes(), err, want.read)
		}
		err := w.Write(t.Context(), providers.Target{Path: "app", Property: "b"}, providers.NewValue([]byte("c")), nil)
		if want.ours && err != nil || !want.ours && (!errors.Is(err, providers.ErrForeign) || !strings.Contains(err.Error(), "custom_metadata with managed-by=external-secrets")) {
			t.Errorf("Write to %s: got %v, and it is a Writer's: %v", secret, err, want.ours)
		}
	}
}

// TestRefs is the inventory of remoteRef and find at both versions of the
// engine. Version 1 keeps no versions and no metadata.
func TestRefs(t *testing.T) {
	v := server.Get(t)
	for version, mount := range map[string]string{"v1": "inventory1", "v2": "inventory2"} {
		t.Run(version, func(t *testing.T) {
			must(t, v.Mount(t.Context(), mount, int(version[1]-'0')))
			unmounted(t, v, mount)
			put := func(path string, values map[string]any) {
				t.Helper()
				if version == "v1" {
					must(t, v.Call(t.Context(), http.MethodPost, mount+"/"+path, values, nil))
					return
				}
				must(t, v.Call(t.Context(), http.MethodPost, mount+"/data/"+path, map[string]any{"data": values}, nil))
				custom := map[string]string{}
				if path == "inventory/ref" || path == "inventory/find/one" {
					custom["team"] = "a"
				}
				must(t, v.Call(t.Context(), http.MethodPost, mount+"/metadata/"+path, map[string]any{"custom_metadata": custom}, nil))
			}
			put("inventory/ref", map[string]any{"p": "old"})
			put("inventory/ref", map[string]any{"p": "cDE=", "q": "other", "odd/key": "1", "zero": "a\x00b"})
			put("inventory/other", map[string]any{"p": "cDI="})
			for _, name := range []string{"find/one", "find/two", "zero/one"} {
				put("inventory/"+name, map[string]any{"v": "a\x00b"})
			}
			refs := conformance.RefTables("inventory/ref", "1", "inventory/")
			refs.Values = fields.Values
			refs.Open = func(t *testing.T) providers.Reader { t.Helper(); return asRoot(t, v, mount, version) }
			// What is found is a JSON object as a whole: no base64, and no zero byte.
			refs.FindIdle = map[string]conformance.Change{}
			for _, field := range []string{"decodingStrategy", "nullBytePolicy"} {
				refs.FindIdle[field] = refs.FindServed[field]
				delete(refs.FindServed, field)
			}
			if version == "v1" {
				refs.RefRefused, refs.FindRefused = map[string]conformance.Change{}, map[string]conformance.Change{}
				for _, field := range []string{"version", "metadataPolicy"} {
					refs.RefRefused[field] = refs.RefServed[field]
					delete(refs.RefServed, field)
				}
				refs.FindRefused["tags"] = refs.FindServed["tags"]
				delete(refs.FindServed, "tags")
			}
			refs.Test(t)
		})
	}
}
