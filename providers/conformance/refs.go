package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// Metadata is the inventory of the metadata of a PushSecret for one backend.
type Metadata struct {
	// Settings are what the backend decodes it into.
	Settings any
	// Served and Refused are as those of Fields.
	Served, Refused map[string]Change
	// Trace writes with the metadata, and returns what was sent.
	Trace func(t *testing.T, metadata json.RawMessage) (string, error)
}

// Test checks every field of the metadata, alone and as the spec of a
// PushSecretMetadata.
func (m Metadata) Test(t *testing.T) {
	for name, form := range map[string]string{"Alone": "%s", "Whole": `{"apiVersion":"kubernetes.external-secrets.io/v1alpha1","kind":"PushSecretMetadata","spec":%s}`} {
		t.Run(name, func(t *testing.T) {
			inventory{of: m.Settings, at: "metadata.", served: m.Served, refused: m.Refused, trace: func(t *testing.T, change Change, without string) (string, error) {
				t.Helper()
				text, err := json.Marshal(apply(t, nil, change, without))
				if err != nil {
					t.Fatal(err)
				}
				return m.Trace(t, fmt.Appendf(nil, form, text))
			}}.test(t)
		})
	}
	if _, err := m.Trace(t, json.RawMessage(`{"no-such-setting":1}`)); !errors.Is(err, providers.ErrInvalid) {
		t.Errorf("metadata.no-such-setting: got %v, want ErrInvalid", err)
	}
}

// Refs is the inventory of what an ExternalSecret says of one value, and of a
// find, as one store answers it.
type Refs struct {
	Open func(t *testing.T) providers.Reader
	// Values returns what a spec makes of what the store has, as text.
	Values func(t *testing.T, store providers.Reader, spec *esv1.ExternalSecretSpec) (string, error)
	// Ref and Find are what works, and RefServed and so on as those of Fields.
	Ref, Find               map[string]any
	RefServed, RefRefused   map[string]Change
	FindServed, FindRefused map[string]Change
	// FindIdle are fields of find that can make no difference at this store.
	FindIdle map[string]Change
}

// RefTables are tables for a store that serves every field. The secret at path
// has the properties p and zero, with a zero byte, and one whose name has a
// slash, and an older version; other and find/one, find/two and zero/one are
// below dir, find/one with the tag team=a.
func RefTables(path, version, dir string) Refs {
	return Refs{
		Ref: map[string]any{"key": path, "property": "p"}, Find: map[string]any{"path": dir + "find/"},
		RefServed: map[string]Change{
			"key": {"key": dir + "other"}, "property": {"property": "q"}, "version": {"version": version},
			"metadataPolicy": {"property": nil, "metadataPolicy": "Fetch"}, "conversionStrategy": {"property": nil, "conversionStrategy": "Unicode"},
			"decodingStrategy": {"decodingStrategy": "Base64"}, "nullBytePolicy": {"property": "zero", "nullBytePolicy": "Fail"},
		},
		FindServed: map[string]Change{
			"path": {"path": dir + "zero/"}, "name.regexp": {"name.regexp": "one$"}, "tags": {"tags": map[string]string{"team": "a"}},
			"conversionStrategy": {"conversionStrategy": "Unicode"}, "decodingStrategy": {"decodingStrategy": "Base64"},
			"nullBytePolicy": {"path": dir + "zero/", "nullBytePolicy": "Fail"},
		},
	}
}

// Test checks every field of remoteRef and find.
func (r Refs) Test(t *testing.T) {
	reader := r.Open(t)
	values := func(t *testing.T, spec map[string]any) (string, error) {
		t.Helper()
		var decoded esv1.ExternalSecretSpec
		spec["secretStoreRef"] = map[string]string{"name": "store"}
		decode(t, spec, &decoded)
		return r.Values(t, reader, &decoded)
	}
	inventory{of: esv1.RemoteRef{}, served: r.RefServed, refused: r.RefRefused, trace: func(t *testing.T, change Change, without string) (string, error) {
		t.Helper()
		ref := apply(t, r.Ref, change, without)
		both := map[string]any{"data": []any{map[string]any{"secretKey": "a", "remoteRef": ref}}}
		if _, ok := change["conversionStrategy"]; ok { // it is about the keys of an extract
			both = map[string]any{"dataFrom": []any{map[string]any{"extract": ref}}}
		}
		return values(t, both)
	}}.test(t)
	inventory{of: esv1.Find{}, at: "find.", served: r.FindServed, refused: r.FindRefused, idle: r.FindIdle, trace: func(t *testing.T, change Change, without string) (string, error) {
		t.Helper()
		return values(t, map[string]any{"dataFrom": []any{map[string]any{"find": apply(t, r.Find, change, without)}}})
	}}.test(t)
}
