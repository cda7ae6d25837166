package seal

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	sigsyaml "sigs.k8s.io/yaml"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/reconciler/keys"
	"github.com/lockstep-dev/lockstep/reconciler/sealedsecret"
	"github.com/lockstep-dev/lockstep/sealer"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

var controlPlane = testenv.Share(func(t testing.TB) (*testenv.ControlPlane, error) {
	return testenv.StartControlPlane(t.Context(), testenv.Options{CRDs: "../../../charts/lockstep/crds"})
})

// TestCluster seals for the real controllers, through the API server's proxy,
// and what they make of it is what was sealed.
func TestCluster(t *testing.T) {
	cp := controlPlane.Get(t)
	ns := cp.Namespace(t)
	c := serve(t, cp, ns)
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("KUBECONFIG", cp.Kubeconfig())
	if err := os.Mkdir(".git", 0o755); err != nil {
		t.Fatal(err)
	}
	canary := testenv.NewCanary(t)
	value := filepath.Join(t.TempDir(), "value")
	if err := os.WriteFile(value, []byte(canary.Value()), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "db.yaml")
	t.Run("OpensAlike", func(t *testing.T) { opensAlike(t, c, ns) })
	controller := []string{"--controller-namespace", ns, "--controller-name", "controller"}
	lockstep(t, args(controller, "seal", "db", "-n", ns, "--from-file", "password="+value, "-w", file)...)
	lockstep(t, args(controller, "seal", "db2", "-n", ns, "--compat", "--from-file", "password="+value, "-w", "compat.yaml")...)
	lockstep(t, args(controller, "seal", "set", file, "more", "--from-file", value)...)
	if out := lockstep(t, args(controller, "verify", dir, "--online")...); strings.Count(out, "the controller opens it") != 2 || strings.Count(out, "envelope 2") != 2 {
		t.Errorf("verify: %s", out)
	}
	for _, name := range []string{"db.yaml", "compat.yaml"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		ss := &bitnamiv1alpha1.SealedSecret{}
		if err := sigsyaml.UnmarshalStrict(text, ss); err != nil {
			t.Fatal(err)
		}
		if err := c.Create(t.Context(), ss); err != nil {
			t.Fatal(err)
		}
		eventually(t, name+" to be opened", func() bool {
			s := &corev1.Secret{}
			err := c.Get(t.Context(), client.ObjectKeyFromObject(ss), s)
			return err == nil && string(s.Data["password"]) == canary.Value()
		})
		canary.NotInCluster(t, cp, types.NamespacedName{Namespace: ns, Name: "db"}, types.NamespacedName{Namespace: ns, Name: "db2"})
	}

	// What the controller does not open, verify --online says.
	text, err := os.ReadFile("compat.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("moved.yaml", bytes.ReplaceAll(text, []byte("name: db2"), []byte("name: db3")), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := try(t, args(controller, "verify", "moved.yaml", "--online")...)
	if err == nil || !strings.Contains(out, "the controller does not open it") {
		t.Errorf("verify of a file that was moved: %v\n%s", err, out)
	}
}

// A controller that has no key to publish yet is told from one that is not there.
func TestNoKeyYet(t *testing.T) {
	cp := controlPlane.Get(t)
	ns := cp.Namespace(t)
	t.Setenv("KUBECONFIG", cp.Kubeconfig())
	cp.Expose(t, ns, "controller", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			http.Error(w, "there is no sealing key yet", http.StatusServiceUnavailable)
		}
	}))
	for name, want := range map[string]string{"controller": "has no sealing key yet: see lockstep keys list", "missing": "see --controller-namespace and --controller-name"} {
		if out, err := try(t, "seal", "fetch", "--controller-namespace", ns, "--controller-name", name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q\n%s", name, err, want, out)
		}
	}
}

// opensAlike compares the Secret that open prints, with the keys of the cluster,
// with the one that the controller makes.
func opensAlike(t *testing.T, c client.Client, ns string) {
	t.Helper()
	t.Chdir(t.TempDir())
	value := testenv.NewCanary(t).Value()
	lockstep(t, "seal", "template", "-n", ns, "--controller-namespace", ns, "--controller-name", "controller", "--pins", "pins.json", "--type", "example.com/db",
		"--from-literal", "password="+value, "--from-literal", "gone=x", "-w", "db.yaml")
	text, err := os.ReadFile("db.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("    metadata:\n"), []byte("    metadata:\n      labels: {app: db}\n      annotations: {note: mine}\n      finalizers: [a.example/b]\n"), 1)
	text = append(text, "    immutable: true\n    data: {url: 'db://{{ .password }}/{{ .none }}', plain: text, sibling: '{{ .plain }}', gone: null}\n"...)
	if err := os.WriteFile("db.yaml", text, 0o600); err != nil {
		t.Fatal(err)
	}
	ss := &bitnamiv1alpha1.SealedSecret{}
	if err := sigsyaml.UnmarshalStrict(text, ss); err != nil {
		t.Fatal(err)
	}
	if err := c.Create(t.Context(), ss); err != nil {
		t.Fatal(err)
	}
	want := &corev1.Secret{}
	eventually(t, "the Secret", func() bool { return c.Get(t.Context(), client.ObjectKeyFromObject(ss), want) == nil })
	var all corev1.SecretList
	if err := c.List(t.Context(), &all, client.InNamespace(ns), client.MatchingLabelsSelector{Selector: keys.Selector()}); err != nil {
		t.Fatal(err)
	}
	backup, err := sigsyaml.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("backup.yaml", backup, 0o600); err != nil {
		t.Fatal(err)
	}
	got := &corev1.Secret{}
	if err := sigsyaml.UnmarshalStrict([]byte(lockstep(t, "open", "db.yaml", "--key", "backup.yaml")), got); err != nil {
		t.Fatal(err)
	}
	want.ObjectMeta = metav1.ObjectMeta{Name: want.Name, Namespace: want.Namespace, Labels: want.Labels, Annotations: want.Annotations, Finalizers: want.Finalizers}
	want.TypeMeta = got.TypeMeta
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-controller +open):\n%s", strings.ReplaceAll(diff, value, "VALUE"))
	}
}

// serve runs the controllers of one namespace, behind the Service "controller".
func serve(t *testing.T, cp *testenv.ControlPlane, ns string) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, bitnamiv1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	mgr, err := ctrl.NewManager(cp.RestConfig(), ctrl.Options{
		Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"},
		Cache:  cache.Options{DefaultNamespaces: map[string]cache.Config{ns: {}}},
		Client: client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ring := &sealer.Keyring{}
	k := &keys.Controller{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Ring: ring, Namespace: ns, Prefix: "key", KeySize: sealer.MinKeySize, TTL: time.Hour}
	s := &sealedsecret.Controller{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Keys: ring, Recorder: mgr.GetEventRecorderFor("sealed-secrets")}
	for _, c := range []interface{ SetupWithManager(ctrl.Manager) error }{k, s} {
		if err := c.SetupWithManager(mgr); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	eventually(t, "a sealing key", func() bool { return ring.Len() > 0 })
	cp.Expose(t, ns, "controller", k.Handler())
	c, err := client.New(cp.RestConfig(), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// args puts the flags of the controller behind the command that has them.
func args(controller []string, command ...string) []string { return append(command, controller...) }

// lockstep runs a command and returns what it prints.
func lockstep(t *testing.T, arguments ...string) string {
	t.Helper()
	out, err := try(t, arguments...)
	if err != nil {
		t.Fatalf("lockstep %v: %v\n%s", arguments, err, out)
	}
	return out
}

func try(t *testing.T, arguments ...string) (string, error) {
	t.Helper()
	root := &cobra.Command{Use: "lockstep", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(Commands()...)
	root.SetArgs(arguments)
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
