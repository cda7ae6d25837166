package keys

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	sigsyaml "sigs.k8s.io/yaml"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/reconciler/keys"
	"github.com/lockstep-dev/lockstep/sealer"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

var controlPlane = testenv.Share(func(t testing.TB) (*testenv.ControlPlane, error) {
	return testenv.StartControlPlane(t.Context(), testenv.Options{CRDs: "../../../charts/lockstep/crds"})
})

// bench is a namespace with keys.
type bench struct {
	client.Client
	t  *testing.T
	cp *testenv.ControlPlane
	ns string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	cp := controlPlane.Get(t)
	t.Setenv("KUBECONFIG", cp.Kubeconfig())
	c := &settings{}
	c.bind(&cobra.Command{})
	kube, err := c.connect()
	if err != nil {
		t.Fatal(err)
	}
	return &bench{Client: kube, t: t, cp: cp, ns: cp.Namespace(t)}
}

// lockstep runs a command on the namespace and returns what it prints.
func (b *bench) lockstep(arguments ...string) (string, error) {
	b.t.Helper()
	root := &cobra.Command{Use: "lockstep", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(Commands()...)
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(append(arguments, "--controller-namespace", b.ns, "--controller-name", "controller"))
	err := root.ExecuteContext(b.t.Context())
	return out.String(), err
}

func (b *bench) must(arguments ...string) string {
	b.t.Helper()
	out, err := b.lockstep(arguments...)
	if err != nil {
		b.t.Fatalf("%v: %v\n%s", arguments, err, out)
	}
	return out
}

func (b *bench) key() sealer.Key {
	b.t.Helper()
	s, k := newKey(b.t, b.ns)
	if err := b.Create(b.t.Context(), s); err != nil {
		b.t.Fatal(err)
	}
	return k
}

// apply creates what a manifest says, with the status that the controller would
// give it.
func (b *bench) apply(text, key string) *bitnamiv1alpha1.SealedSecret {
	b.t.Helper()
	ss := &bitnamiv1alpha1.SealedSecret{}
	if err := sigsyaml.Unmarshal([]byte(text), ss); err != nil {
		b.t.Fatal(err)
	}
	if err := b.Create(b.t.Context(), ss); err != nil {
		b.t.Fatal(err)
	}
	b.opened(ss, key)
	return ss
}

func (b *bench) opened(ss *bitnamiv1alpha1.SealedSecret, key string) {
	b.t.Helper()
	ss.Status.Target = &bitnamiv1alpha1.TargetStatus{UID: "u", ResourceVersion: "1", Generation: ss.Generation, Scope: "strict", Key: key}
	if err := b.Status().Update(b.t.Context(), ss); err != nil {
		b.t.Fatal(err)
	}
}

// The life of a key, by the commands: list, rotate, reseal, retire.
func TestKeys(t *testing.T) {
	b := newBench(t)
	if out := b.must("keys", "list"); !strings.Contains(out, "no sealing key in namespace "+b.ns) {
		t.Errorf("list without a key:\n%s", out)
	}
	old := b.key()
	canary := testenv.NewCanary(t).Value()
	text := sealedManifest(t, old, sealer.Binding{Namespace: b.ns, Name: "db"}, canary)
	ss := b.apply(text, old.Fingerprint)
	file := filepath.Join(t.TempDir(), "db.yaml")
	if err := os.WriteFile(file, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	if out := b.must("keys", "list"); !strings.Contains(out, short(old.Fingerprint)) || !strings.Contains(out, "active") || !strings.HasSuffix(strings.TrimRight(out, " \n"), "1        1      -") {
		t.Errorf("list:\n%s", out)
	}
	if _, err := b.lockstep("keys", "retire", short(old.Fingerprint)); err == nil || !strings.Contains(err.Error(), "newest") {
		t.Errorf("retire of the newest: %v", err)
	}

	time.Sleep(1100 * time.Millisecond)
	if out := b.must("keys", "rotate", "--key-size", "2048"); !strings.Contains(out, "Made the sealing key") {
		t.Errorf("rotate: %s", out)
	}
	if out := b.must("keys", "list"); !strings.Contains(out, "old") || strings.Count(out, "\n") != 3 {
		t.Errorf("list:\n%s", out)
	}
	if _, err := b.lockstep("keys", "retire", short(old.Fingerprint)); err == nil || !strings.Contains(err.Error(), "SealedSecret "+b.ns+"/db") {
		t.Errorf("retire of a key that is needed: %v", err)
	}

	if out := b.must("reseal", file, "--cluster-keys"); !strings.Contains(out, "1 of 1 values are sealed again") || !strings.Contains(out, short(old.Fingerprint)) {
		t.Errorf("reseal: %s", out)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the file's mode is %v, %v", info.Mode(), err)
	}
	after := b.sealed(file)
	ss.Spec.EncryptedData = after.Spec.EncryptedData
	if err := b.Update(t.Context(), ss); err != nil {
		t.Fatal(err)
	}
	// The status is of the generation before: the values are opened to know.
	other := filepath.Join(t.TempDir(), "tree")
	if err := os.MkdirAll(other, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(other, "left.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := b.lockstep("keys", "retire", short(old.Fingerprint), "--path", other); err == nil || !strings.Contains(err.Error(), "left.yaml") {
		t.Errorf("retire of a key that a file needs: %v", err)
	}
	b.retires(old)
}

// retires has a key retired that nothing needs any more.
func (b *bench) retires(old sealer.Key) {
	t := b.t
	t.Helper()
	if out := b.must("keys", "retire", short(old.Fingerprint)); !strings.Contains(out, "Retired") {
		t.Errorf("retire: %s", out)
	}
	if out := b.must("keys", "list"); !strings.Contains(out, "retired") {
		t.Errorf("list:\n%s", out)
	}
	if out := b.must("keys", "retire", short(old.Fingerprint)); !strings.Contains(out, "already") {
		t.Errorf("retire again: %s", out)
	}
	if _, err := b.lockstep("keys", "retire", "12"); err == nil || !strings.Contains(err.Error(), "at least 8 digits") {
		t.Errorf("retire by two digits: %v", err)
	}
}

func (b *bench) sealed(file string) *bitnamiv1alpha1.SealedSecret {
	b.t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		b.t.Fatal(err)
	}
	ss := &bitnamiv1alpha1.SealedSecret{}
	if err := sigsyaml.Unmarshal(text, ss); err != nil {
		b.t.Fatal(err)
	}
	return ss
}

// The controller seals again, through the API server, and no key is here.
func TestResealOnline(t *testing.T) {
	b := newBench(t)
	old := b.key()
	text := sealedManifest(t, old, sealer.Binding{Namespace: b.ns, Name: "db"}, testenv.NewCanary(t).Value())
	b.apply(text, old.Fingerprint)
	newest := b.key()
	ring := &sealer.Keyring{}
	ring.Set(old, newest)
	b.cp.Expose(t, b.ns, "controller", (&keys.Controller{Ring: ring}).Handler())
	file := filepath.Join(t.TempDir(), "db.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if out := b.must("reseal", filepath.Dir(file)); !strings.Contains(out, "1 of 1 values are sealed again") {
		t.Errorf("reseal: %s", out)
	}
	value := b.sealed(file).Spec.EncryptedData["password"]
	opened, err := ring.OpenItem(value, sealer.Place{Binding: sealer.Binding{Namespace: b.ns, Name: "db"}, Item: "password"}, "")
	if err != nil || opened.Fingerprint != newest.Fingerprint {
		t.Errorf("the value is of the key %s: %v", opened.Fingerprint, err)
	}
	// What the cluster knows to be on the newest key is left alone.
	ss := b.sealed(file)
	if err := b.Get(t.Context(), client.ObjectKeyFromObject(ss), ss); err != nil {
		t.Fatal(err)
	}
	ss.Spec.EncryptedData["password"] = value
	if err := b.Update(t.Context(), ss); err != nil {
		t.Fatal(err)
	}
	b.opened(ss, newest.Fingerprint)
	if out := b.must("reseal", file); !strings.Contains(out, "0 of 1 values") {
		t.Errorf("reseal again: %s", out)
	}
}

// A value that others open too is not sealed again by the controller, which does
// not know their keys: the key is named. What is on the newest key is left alone.
func TestResealOnlineForOthers(t *testing.T) {
	b := newBench(t)
	old, newest := b.key(), b.key()
	cluster := sealer.NewClusterID()
	var hybrids []*sealer.HybridKey
	for _, id := range []sealer.ClusterID{cluster, cluster, sealer.NewClusterID()} {
		k, err := sealer.NewHybridKey(id)
		if err != nil {
			t.Fatal(err)
		}
		hybrids = append(hybrids, k)
	}
	old.Hybrid, newest.Hybrid = hybrids[0], hybrids[1]
	ring := &sealer.Keyring{}
	ring.Set(old, newest)
	b.cp.Expose(t, b.ns, "controller", (&keys.Controller{Ring: ring}).Handler())
	dir := t.TempDir()
	for name, to := range map[string][]sealer.Recipient{
		"others.yaml": {hybrids[0].Recipient, hybrids[2].Recipient}, "newest.yaml": {hybrids[1].Recipient, hybrids[2].Recipient}, "old.yaml": {hybrids[0].Recipient},
	} {
		value, err := sealer.SealItem([]byte("v"), sealer.Place{Binding: sealer.Binding{Namespace: b.ns, Name: "db"}, Item: "a"}, to...)
		if err != nil {
			t.Fatal(err)
		}
		text := "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: db, namespace: " + b.ns + "}\nspec: {encryptedData: {a: " + value + "}}\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := b.lockstep("reseal", dir)
	want := "key " + hybrids[2].ID.String() + " of cluster " + hybrids[2].Cluster.String() + ": seal it again here, with --cluster-keys and --recipient"
	if err == nil || !strings.Contains(out, want) || !strings.Contains(out, "1 of 3 values are sealed again, in 1 files") {
		t.Errorf("got %v, %s", err, out)
	}
	sealed, err := sealer.ParseSealed(b.sealed(filepath.Join(dir, "old.yaml")).Spec.EncryptedData["a"])
	if err != nil || sealed.Addresses()[0].Key != newest.Hybrid.ID {
		t.Errorf("sealed again for %v, %v", sealed.Addresses(), err)
	}
}

// A backup restores what it was made of, and never changes what is there.
func TestBackup(t *testing.T) {
	b := newBench(t)
	first := b.key()
	dir := t.TempDir()
	passphrase, file := filepath.Join(dir, "passphrase"), filepath.Join(dir, "keys.age")
	if err := os.WriteFile(passphrase, []byte("correct horse battery\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := b.must("keys", "backup", file, "--passphrase-file", passphrase); !strings.Contains(out, "Wrote 1 sealing keys") {
		t.Errorf("backup: %s", out)
	}
	text, err := os.ReadFile(file)
	if err != nil || !strings.HasPrefix(string(text), "-----BEGIN AGE ENCRYPTED FILE-----") {
		t.Errorf("the backup is %.40q, %v", text, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the backup's mode is %v, %v", info.Mode(), err)
	}
	if out := b.must("keys", "verify-backup", file, "--passphrase-file", passphrase); !strings.Contains(out, "all 1 keys of the cluster") {
		t.Errorf("verify: %s", out)
	}
	second := b.key()
	if _, err := b.lockstep("keys", "verify-backup", file, "--passphrase-file", passphrase); err == nil || !strings.Contains(err.Error(), short(second.Fingerprint)) {
		t.Errorf("verify of an old backup: %v", err)
	}

	var all corev1.SecretList
	if err := b.List(t.Context(), &all, client.InNamespace(b.ns), client.MatchingLabelsSelector{Selector: keys.Selector()}); err != nil {
		t.Fatal(err)
	}
	for i := range all.Items {
		if err := b.Delete(t.Context(), &all.Items[i]); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"restored", "unchanged"} {
		if out := b.must("keys", "restore", file, "--passphrase-file", passphrase); !strings.Contains(out, want) {
			t.Errorf("restore: got %s, want %s", out, want)
		}
	}
	if out := b.must("keys", "list"); !strings.Contains(out, short(first.Fingerprint)) || !strings.Contains(out, "active") {
		t.Errorf("list:\n%s", out)
	}
}
