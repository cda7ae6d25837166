package seal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lockstep-dev/lockstep/reconciler/reseal/rewrite"
	"github.com/lockstep-dev/lockstep/sealer"
	"github.com/lockstep-dev/lockstep/test/seeds"
)

// FuzzPublished checks that what a controller publishes is a key to seal with,
// or refused.
func FuzzPublished(f *testing.F) {
	files := material(f)
	key, err := sealer.NewHybridKey(sealer.ClusterID{})
	if err != nil {
		f.Fatal(err)
	}
	seeds.Add(f, string(files["both.json"]), string(files["cert.pem"]), key.String(), string(files["rsa.key"]), "", "{", "{}", "null", "ls2pub.", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, _ := trusting(t, filepath.Join(t.TempDir(), "pins.json"))
		to, err := c.target([]byte(text), "")
		if err != nil {
			return
		}
		if _, err := to.seal([]byte("v"), sealer.Place{Binding: sealer.Binding{Namespace: "a", Name: "b"}, Item: "c"}); err != nil && to.public == nil {
			t.Errorf("%q is taken for a key, and nothing can be sealed with it: %v", text, err)
		}
	})
}

// FuzzPrivateKeys checks that key files are read or refused, and that an error
// repeats nothing of them.
func FuzzPrivateKeys(f *testing.F) {
	files := material(f)
	offline, err := sealer.NewHybridKey(sealer.ClusterID{})
	if err != nil {
		f.Fatal(err)
	}
	seeds.Add(f, string(files["rsa.key"]), string(offline.Encode()), string(files["keys/old.yaml"]), string(files["keys/old.yaml"])+"---\n"+string(files["keys/new.yaml"]),
		string(files["cert.pem"]), "items: [{data: {tls.key: Y2FuYXJ5}}]", "data: {tls.key: canary}", "canary", "", "-----BEGIN canary-----\n", "kind: List\nitems: canary")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parseKeys([]byte(text))
		if (err == nil) != (len(all) > 0) {
			t.Fatalf("%d keys, and %v", len(all), err)
		}
		if err != nil && strings.Contains(err.Error(), "canary") && !strings.Contains(text, "name") {
			t.Errorf("the input is repeated: %v", err)
		}
		ring := &sealer.Keyring{}
		ring.Set(all...)
	})
}

// FuzzSealed checks that SealedSecrets are read or refused.
func FuzzSealed(f *testing.F) {
	seeds.Add(f, "kind: SealedSecret\nspec: {encryptedData: {a: b}}\n---\nkind: Other\n", "kind: List\nitems: [{kind: SealedSecret}, {kind: List, items: [{kind: SealedSecret}]}]", "kind: SealedSecret\nspec: {template: {metadata: 1, data: {a: null}}}",
		"{\"kind\":\"SealedSecret\",\"spec\":{\"encryptedData\":null}}", "kind: [1]", "", "a", "kind: SealedSecret\nspec: {data: QQ==}")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := readSealed(strings.NewReader(text))
		if (err == nil) != (len(all) > 0) {
			t.Errorf("%d, and %v", len(all), err)
		}
	})
}

// FuzzEnv checks that a file of variables is read or refused, and that an error
// repeats no value.
func FuzzEnv(f *testing.F) {
	seeds.Add(f, "A=canary\n", "# a\n\n  B = canary", "\ufeffA=canary\r\n", "canary", "=canary", "A=1\nA=canary", "A\x00=canary", "")
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "env")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s := sources{envFiles: []string{path}}
		all, err := s.read(strings.NewReader(""))
		if err != nil && strings.Contains(text, "=canary") && strings.Contains(err.Error(), "canary") && strings.Count(text, "canary") == 1 {
			t.Errorf("a value is repeated: %v", err)
		}
		for item, value := range all {
			if err == nil && !strings.Contains(text, item+"="+string(value)) {
				t.Errorf("%q is no variable of %q", item, text)
			}
		}
	})
}

// FuzzPut checks that an item is set, and nothing else of a file changes, or
// that nothing is written.
func FuzzPut(f *testing.F) {
	const head = "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: db, namespace: prod}\n"
	seeds.Add(f, head+"spec:\n  encryptedData:\n    a: AgB # c\n", head+"spec: {encryptedData: {}}\n---\n"+head, head, strings.ReplaceAll(head+"spec:\n  encryptedData:\n    z: |\n      AgB\n", "\n", "\r\n"),
		`{"apiVersion":"bitnami.com/v1","kind":"SealedSecret","spec":{"encryptedData":{"m":"x","n":"y"}}}`, head+"spec: &s\n  encryptedData: &e {a: *s}\n", "kind: List\nitems:\n- "+strings.ReplaceAll(head, "\n", "\n  ")+"spec: {encryptedData: }")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := rewrite.Parse([]byte(text))
		if err != nil || len(m.Objects) == 0 {
			return
		}
		o := m.Objects[len(m.Objects)-1]
		want := itemsOf(o)
		want["m"] = "ls2.value"
		next, err := put([]byte(text), m, o, "m", "ls2.value")
		if err != nil {
			return
		}
		after, err := rewrite.Parse(next)
		if err != nil || len(after.Objects) != len(m.Objects) {
			t.Fatalf("%q became %q: %v", text, next, err)
		}
		got := itemsOf(after.Objects[len(after.Objects)-1])
		if len(got) != len(want) || strings.TrimSpace(got["m"]) != "ls2.value" {
			t.Errorf("%q became %q, with %q", text, next, got)
		}
	})
}
