package keys

import (
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/lockstep-dev/lockstep/reconciler/keys"
	"github.com/lockstep-dev/lockstep/sealer"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

func TestMain(m *testing.M) {
	testscript.Main(tests{m}, map[string]func(){"lockstep": func() { os.Exit(execute()) }})
}

// tests stops what the tests share when they are over.
type tests struct{ *testing.M }

// Run implements testscript.TestingM.
func (t tests) Run() int {
	testenv.Main(t.M) // which exits
	return 0
}

// execute is the program, with the commands of this package only.
func execute() int {
	root := &cobra.Command{Use: "lockstep", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(Commands()...)
	if err := root.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "lockstep:", err)
		return 1
	}
	return 0
}

// newKey makes a key Secret that counts as made at a time of its own.
func newKey(t testing.TB, namespace string) (*corev1.Secret, sealer.Key) {
	t.Helper()
	time.Sleep(1100 * time.Millisecond) // certificates count in seconds
	s, err := keys.NewSecret(keys.Template{Namespace: namespace, Size: sealer.MinKeySize, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	s.GenerateName, s.Name = "", fmt.Sprintf("sealed-secrets-key%d", time.Now().UnixNano())
	k, err := keys.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return s, k
}

// manifest is a SealedSecret with one item.
func sealedManifest(t testing.TB, k sealer.Key, at sealer.Binding, value string) string {
	t.Helper()
	sealed, err := sealer.Seal(&k.Private.PublicKey, []byte(value), at.Label())
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("# first line\napiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata:\n  name: %s # a comment\n  namespace: %s\nspec:\n  encryptedData:\n    password: %s\n",
		at.Name, at.Namespace, base64.StdEncoding.EncodeToString(sealed))
}

// TestScripts runs the commands offline, on a backup with an old key and a new
// one, and on a file that is sealed with the old one.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			id, err := age.GenerateX25519Identity()
			if err != nil {
				return err
			}
			oldSecret, old := newKey(t, "ks")
			newSecret, newest := newKey(t, "ks")
			shared, err := forOthers(t, oldSecret, newSecret)
			if err != nil {
				return err
			}
			text, err := encrypt([]corev1.Secret{*oldSecret, *newSecret}, []age.Recipient{id.Recipient()})
			if err != nil {
				return err
			}
			if strings.Contains(string(text), "PRIVATE KEY") {
				t.Error("the backup shows a private key")
			}
			at := sealer.Binding{Namespace: "prod", Name: "db"}
			file := sealedManifest(t, old, at, "value")
			maps.Copy(shared, map[string]string{
				"keys.age": string(text), "id.txt": id.String(), "other.txt": otherIdentity(t), "short.txt": "short",
				"tree/db.yaml": file + "---\nkind: ConfigMap\n", "before.yaml": file,
				"tree/moved.yaml": strings.Replace(sealedManifest(t, old, at, "value"), "name: db", "name: other", 1),
				"cut.age":         string(text[:len(text)/2]),
			})
			for name, content := range shared {
				path := filepath.Join(e.WorkDir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					return err
				}
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					return err
				}
			}
			e.Setenv("OLD", short(old.Fingerprint))
			e.Setenv("NEW", short(newest.Fingerprint))
			e.Setenv("OFFLINE", shared["offline.id"])
			e.Setenv("KUBECONFIG", filepath.Join(e.WorkDir, "none"))
			return nil
		},
	})
}

// forOthers gives two key Secrets keys of envelope 2, and returns a file with a
// value for the first of them, for another cluster, and for a key of none, and
// the public keys of the others.
func forOthers(t *testing.T, secrets ...*corev1.Secret) (map[string]string, error) {
	t.Helper()
	cluster := sealer.NewClusterID()
	for _, s := range secrets {
		if err := keys.AddHybrid(s, cluster); err != nil {
			return nil, err
		}
	}
	first, err := keys.Parse(secrets[0])
	if err != nil {
		return nil, err
	}
	strange, _ := newKey(t, "other")
	if err := keys.AddHybrid(strange, sealer.NewClusterID()); err != nil {
		return nil, err
	}
	strangeKey, err := keys.Parse(strange)
	if err != nil {
		return nil, err
	}
	ring := &sealer.Keyring{}
	ring.Set(strangeKey)
	bundle, err := ring.Publish()
	if err != nil {
		return nil, err
	}
	offline, err := sealer.NewHybridKey(sealer.ClusterID{})
	if err != nil {
		return nil, err
	}
	at := sealer.Place{Binding: sealer.Binding{Namespace: "prod", Name: "db"}, Item: "password"}
	value, err := sealer.SealItem([]byte("value"), at, first.Hybrid.Recipient, strangeKey.Hybrid.Recipient, offline.Recipient)
	return map[string]string{
		"shared/db.yaml": "# kept\napiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: db, namespace: prod}\nspec:\n  encryptedData: {password: " + value + "} # kept\n",
		"strange.json":   string(bundle), "offline.pub": offline.String() + "\n", "offline.id": offline.ID.String(),
	}, err
}

func otherIdentity(t *testing.T) string {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id.String()
}
