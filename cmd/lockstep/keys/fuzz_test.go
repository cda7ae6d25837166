package keys

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/lockstep-dev/lockstep/test/seeds"
)

// FuzzBackup checks that what is in a backup is read as keys or refused, and
// that an error repeats nothing of it.
func FuzzBackup(f *testing.F) {
	secret, _ := newKey(f, "ks")
	text, err := yaml.Marshal(corev1.SecretList{Items: []corev1.Secret{*secret, *secret}})
	if err != nil {
		f.Fatal(err)
	}
	seeds.Add(f, string(text), string(text[:len(text)/2]), "items: [{}]", "items: [{data: {tls.key: Y2FuYXJ5}}]", "items: canary", "canary", "", "{", "items: [{data: {tls.key: canary}}]")
	f.Fuzz(func(t *testing.T, text string) {
		secrets, err := parseBackup([]byte(text))
		if err != nil {
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the input is repeated: %v", err)
			}
			return
		}
		pairs, ring, err := parse(secrets)
		if ring.Len() > len(pairs) || err == nil && len(pairs) != len(secrets) {
			t.Errorf("%d keys of %d Secrets, and %v", len(pairs), len(secrets), err)
		}
	})
}

// FuzzBackupFile checks that a file which is no backup is refused, and that
// nothing of it is repeated.
func FuzzBackupFile(f *testing.F) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		f.Fatal(err)
	}
	secret, _ := newKey(f, "ks")
	text, err := encrypt([]corev1.Secret{*secret}, []age.Recipient{id.Recipient()})
	if err != nil {
		f.Fatal(err)
	}
	identity := filepath.Join(f.TempDir(), "id.txt")
	if err := os.WriteFile(identity, []byte(id.String()), 0o600); err != nil {
		f.Fatal(err)
	}
	seeds.Add(f, string(text), string(text[:len(text)/2]), strings.Replace(string(text), "AGE", "CANARY", 1), "age-encryption.org/v1\n", "", "canary", id.String())
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "keys.age")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		b := &backup{identities: []string{identity}}
		secrets, err := b.open(path)
		if (err == nil) != (len(secrets) > 0) {
			t.Errorf("%d Secrets, and %v", len(secrets), err)
		}
		if err != nil && (strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "SECRET-KEY")) {
			t.Errorf("the input is repeated: %v", err)
		}
	})
}
