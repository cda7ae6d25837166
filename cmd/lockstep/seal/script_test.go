package seal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	sigsyaml "sigs.k8s.io/yaml"

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

// keySecret makes a key Secret as the controller does, of a cluster.
func keySecret(t testing.TB, cluster sealer.ClusterID, since time.Time) (*corev1.Secret, sealer.Key) {
	t.Helper()
	private, cert, err := sealer.NewCertificate(sealer.MinKeySize, time.Hour, "")
	if err != nil {
		t.Fatal(err)
	}
	s := &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Name: "key"},
		Data:       map[string][]byte{"tls.key": sealer.EncodePrivateKey(private), "tls.crt": sealer.EncodeCertificate(cert)},
	}
	if err := keys.AddHybrid(s, cluster); err != nil {
		t.Fatal(err)
	}
	key, err := keys.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	key.Since = since
	return s, key
}

// material is what the scripts find in their folder: the keys of a cluster
// before and after a renewal, of the same cluster without the old key, and of
// another one.
func material(t testing.TB) map[string][]byte {
	t.Helper()
	cluster := sealer.NewClusterID()
	start := time.Now().Add(-time.Hour)
	oldSecret, oldKey := keySecret(t, cluster, start)
	newSecret, newKey := keySecret(t, cluster, start.Add(time.Minute))
	strangeSecret, strangeKey := keySecret(t, sealer.NewClusterID(), start)
	files := map[string][]byte{"cert.pem": oldSecret.Data["tls.crt"], "rsa.key": oldSecret.Data["tls.key"]}
	for name, s := range map[string]*corev1.Secret{"old.yaml": oldSecret, "new.yaml": newSecret, "strange.yaml": strangeSecret} {
		text, err := sigsyaml.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		files["keys/"+name] = text
	}
	for name, all := range map[string][]sealer.Key{"old.json": {oldKey}, "both.json": {oldKey, newKey}, "new.json": {newKey}, "strange.json": {strangeKey}} {
		ring := &sealer.Keyring{}
		ring.Set(all...)
		text, err := ring.Publish()
		if err != nil {
			t.Fatal(err)
		}
		files[name] = text
	}
	files["keys.age"], files["id.txt"] = encrypted(t, files["keys/old.yaml"])
	files["newest"] = []byte(newKey.Hybrid.ID.String())
	return files
}

// encrypted makes a backup of a key Secret, and the identity that opens it.
func encrypted(t testing.TB, secret []byte) (backup, identity []byte) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	armored := armor.NewWriter(&out)
	w, err := age.Encrypt(armored, id.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	list := "apiVersion: v1\nkind: SecretList\nitems:\n- " + strings.ReplaceAll(strings.TrimSpace(string(secret)), "\n", "\n  ") + "\n"
	if _, err := w.Write([]byte(list)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), armored.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), []byte(id.String())
}

func TestScripts(t *testing.T) {
	files := material(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			for name, text := range files {
				path := filepath.Join(e.WorkDir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					return err
				}
				if err := os.WriteFile(path, text, 0o600); err != nil {
					return err
				}
			}
			e.Setenv("KUBECONFIG", filepath.Join(e.WorkDir, "none"))
			e.Setenv("LOCKSTEP_NEWEST", string(files["newest"]))
			return os.Mkdir(filepath.Join(e.WorkDir, ".git"), 0o755)
		},
	})
}
