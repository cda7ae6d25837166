package v1_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
)

func TestProviderName(t *testing.T) {
	cases := map[string]struct {
		reason   string
		provider string
		want     string
		wantErr  []string // parts of the message
	}{
		"Typed":   {reason: "A provider that we have.", provider: `{"vault":{"server":"https://v"}}`, want: "vault"},
		"Unknown": {reason: "One that we do not have still has a name.", provider: `{"azurekv":{"vaultUrl":"u"}}`, want: "azurekv"},
		"None":    {reason: "The message says what is missing.", provider: `{}`, wantErr: []string{"no provider", "set exactly one"}},
		"Several": {reason: "The message names them all, in order.", provider: `{"vault":{"server":""},"gcpsm":{},"aws":{"region":"r"}}`, wantErr: []string{"aws, gcpsm, vault"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var p esv1.SecretStoreProvider
			if err := json.Unmarshal([]byte(tc.provider), &p); err != nil {
				t.Fatal(err)
			}
			got, err := p.Name()
			if got != tc.want || (err != nil) != (tc.wantErr != nil) {
				t.Fatalf("%s\nName of %s: got %q, %v, want %q", tc.reason, tc.provider, got, err, tc.want)
			}
			for _, part := range tc.wantErr {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s\nName of %s: got error %q, want %q in it", tc.reason, tc.provider, err, part)
				}
			}
		})
	}
}

func TestNilProviderHasNoName(t *testing.T) {
	var p *esv1.SecretStoreProvider
	if name, err := p.Name(); err == nil {
		t.Errorf("Name of nil: got %q, want an error", name)
	}
}

// TestProviderKeepsUnknownKeys reads and writes providers that this version
// does and does not have: whatever came in must go out.
func TestProviderKeepsUnknownKeys(t *testing.T) {
	cases := []string{
		`{}`,
		`{"vault":{"server":"https://v","auth":{"tokenSecretRef":{"name":"n","key":"k"}}}}`,
		`{"aws":{"service":"SecretsManager","region":"r","auth":{"jwt":{"serviceAccountRef":{"name":"sa"}}}}}`,
		`{"azurekv":{"vaultUrl":"https://kv","nested":{"list":[1,2.5,null,"x"]}}}`,
		`{"aws":{"service":"ParameterStore","region":"r"},"fake":{"data":[{"key":"k","value":"v"}]}}`,
	}
	for _, in := range cases {
		var p esv1.SecretStoreProvider
		if err := json.Unmarshal([]byte(in), &p); err != nil {
			t.Fatal(err)
		}
		out, err := json.Marshal(esv1.StoreSpec{Provider: p.DeepCopy()})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(parse(t, `{"provider":`+in+`}`), parse(t, string(out))); diff != "" {
			t.Errorf("%s, read and written: (-want +got)\n%s", in, diff)
		}
	}
}

// TestUnmarshalReplaces makes sure that nothing of an earlier object stays
// when a client decodes into it again.
func TestUnmarshalReplaces(t *testing.T) {
	var p esv1.SecretStoreProvider
	for _, in := range []string{`{"fake":{}}`, `{"vault":{"server":"https://v"}}`, `{"aws":{"region":"r"}}`} {
		if err := json.Unmarshal([]byte(in), &p); err != nil {
			t.Fatal(err)
		}
	}
	if name, err := p.Name(); err != nil || name != esv1.ProviderAWS {
		t.Errorf("Name after three reads: got %q, %v, want %q", name, err, esv1.ProviderAWS)
	}
}

func parse(t *testing.T, s string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatal(err)
	}
	return v
}
