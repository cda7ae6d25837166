package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	sigsyaml "sigs.k8s.io/yaml"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
)

// Of a file only what is new or another changes, whatever its form: CIPHERTEXT
// is what is sealed anew, OLD what was there.
func TestMergeKeepsTheRest(t *testing.T) {
	old := "AQ" + strings.Repeat("o", 350)
	secret := "metadata: {labels: {team: a}}\nstringData: {password: v, token: v}\n"
	cases := map[string]struct{ in, want string }{
		"Block": {
			"# by hand\nkind: SealedSecret\napiVersion: bitnami.com/v1alpha1\nspec:\n  encryptedData: # two\n    zebra: \"OLD\"   # first\n    password: OLD # second\n  template:\n    type: Opaque\n    metadata:\n      labels: {app: db} # flow\nmetadata:\n  namespace: prod\n  name: db\n# end\n",
			"# by hand\nkind: SealedSecret\napiVersion: bitnami.com/v1alpha1\nspec:\n  encryptedData: # two\n    zebra: \"OLD\"   # first\n    password: CIPHERTEXT # second\n    token: CIPHERTEXT\n  template:\n    type: Opaque\n    metadata:\n      labels: {app: db, team: a} # flow\nmetadata:\n  namespace: prod\n  name: db\n# end\n",
		},
		"NoTemplate": {
			"---\napiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: db, namespace: prod}\nspec:\n    encryptedData:\n        a: 'OLD'",
			"---\napiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: db, namespace: prod}\nspec:\n    encryptedData:\n        a: 'OLD'\n        password: CIPHERTEXT\n        token: CIPHERTEXT\n    template:\n      metadata:\n        labels:\n          team: a",
		},
		"Block scalar last": {
			"apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: db, namespace: prod}\nspec:\n  template:\n    metadata:\n      labels:\n        x: \"y\"\n        note: |\n          several\n\n          lines\n\n  encryptedData:\n    a: OLD\n",
			"apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: db, namespace: prod}\nspec:\n  template:\n    metadata:\n      labels:\n        x: \"y\"\n        note: |\n          several\n\n          lines\n        team: a\n\n  encryptedData:\n    a: OLD\n    password: CIPHERTEXT\n    token: CIPHERTEXT\n",
		},
		"Nulls": {
			"apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: db, namespace: prod}\nspec:\n  template:\n    metadata:\n      labels:\n      annotations: null\n  encryptedData: {}\n",
			"apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: db, namespace: prod}\nspec:\n  template:\n    metadata:\n      labels:\n        team: a\n      annotations: null\n  encryptedData:\n    password: CIPHERTEXT\n    token: CIPHERTEXT\n",
		},
		"Windows": {
			"apiVersion: bitnami.com/v1alpha1\r\nkind: SealedSecret\r\nmetadata: {name: db, namespace: prod, labels: {ü: ä}}\r\nspec:\r\n  template:\r\n    metadata:\r\n      labels:\r\n        team: b\r\n  encryptedData:\r\n    password: OLD\r\n",
			"apiVersion: bitnami.com/v1alpha1\r\nkind: SealedSecret\r\nmetadata: {name: db, namespace: prod, labels: {ü: ä}}\r\nspec:\r\n  template:\r\n    metadata:\r\n      labels:\r\n        team: a\r\n  encryptedData:\r\n    password: CIPHERTEXT\r\n    token: CIPHERTEXT\r\n",
		},
		"JSON": {
			"{\n  \"kind\": \"SealedSecret\",\n  \"spec\": {\n    \"encryptedData\": {\n      \"b\": \"OLD\",\n      \"password\": \"OLD\"\n    },\n    \"template\": {\"metadata\": {\"labels\":{\"app\":\"db\"}}}\n  },\n  \"apiVersion\": \"bitnami.com/v1alpha1\",\n  \"metadata\": {\"name\": \"db\", \"namespace\": \"prod\"}\n}\n",
			"{\n  \"kind\": \"SealedSecret\",\n  \"spec\": {\n    \"encryptedData\": {\n      \"b\": \"OLD\",\n      \"password\": \"CIPHERTEXT\",\n      \"token\": \"CIPHERTEXT\"\n    },\n    \"template\": {\"metadata\": {\"labels\":{\"app\":\"db\",\"team\":\"a\"}}}\n  },\n  \"apiVersion\": \"bitnami.com/v1alpha1\",\n  \"metadata\": {\"name\": \"db\", \"namespace\": \"prod\"}\n}\n",
		},
	}
	cert := certificate(t, t.TempDir())
	t.Setenv("KUBECONFIG", os.DevNull)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "sealed.yaml")
			if err := os.WriteFile(path, []byte(strings.ReplaceAll(tc.in, "OLD", old)), 0o640); err != nil {
				t.Fatal(err)
			}
			if _, err := ours(t.Context(), secret, "--cert", cert, "--merge-into", path); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := shape(strings.ReplaceAll(string(text), old, "OLD"))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("file (-want +got):\n%s", diff)
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
				t.Errorf("mode is %v", info.Mode())
			}
		})
	}
}

// What cannot be edited in its place is written anew, as the genuine kubeseal
// does: nothing is lost, and nothing is guessed.
func TestMergeRewrites(t *testing.T) {
	old := "AQ" + strings.Repeat("o", 350)
	in := "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: &m {name: db, namespace: prod}\nspec:\n  template:\n    metadata: *m\n  encryptedData:\n    a: " + old + "\n"
	path := filepath.Join(t.TempDir(), "sealed.yaml")
	if err := os.WriteFile(path, []byte(in), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", os.DevNull)
	_, err := ours(t.Context(), "metadata: {labels: {team: a}}\nstringData: {password: v}\n", "--cert", certificate(t, t.TempDir()), "--merge-into", path)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := &bitnamiv1alpha1.SealedSecret{}
	if err := sigsyaml.Unmarshal(text, got); err != nil || got.Spec.EncryptedData["a"] != old || got.Spec.EncryptedData["password"] == "" || got.Spec.Template.Labels["team"] != "a" {
		t.Errorf("file: %v\n%s", err, text)
	}
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		out, err := ours(t.Context(), "", "--completion", shell)
		if err != nil || !strings.Contains(out, "re-encrypt") || !strings.Contains(out, "namespace-wide") || strings.Contains(out, "rotate") {
			t.Errorf("%s: %v\n%s", shell, err, out)
		}
	}
	if _, err := ours(t.Context(), "", "--completion", "cmd"); err == nil {
		t.Error("a shell that nobody knows: no error")
	}
}
