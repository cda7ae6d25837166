package seal

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
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
	expose(t, cp, ns, k.Handler())
	c, err := client.New(cp.RestConfig(), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// expose serves h on an address that the API server's proxy takes, which is
// none of the loopback.
func expose(t *testing.T, cp *testenv.ControlPlane, ns string, h http.Handler) {
	t.Helper()
	var ip net.IP
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			ip = n.IP
		}
	}
	if ip == nil {
		t.Fatal("this machine has no address but the loopback's")
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(ip.String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: h}}
	server.Start()
	t.Cleanup(server.Close)
	port := int32(listener.Addr().(*net.TCPAddr).Port)
	core := cp.Client.CoreV1()
	meta := metav1.ObjectMeta{Name: "controller"}
	if _, err := core.Services(ns).Create(t.Context(), &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: port}}}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	// The proxy asks for a Pod with the address.
	pod, err := core.Pods(ns).Create(t.Context(), &corev1.Pod{ObjectMeta: meta, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "c"}}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod.Status.PodIP, pod.Status.PodIPs = ip.String(), []corev1.PodIP{{IP: ip.String()}}
	if _, err := core.Pods(ns).UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	name, protocol := "http", corev1.ProtocolTCP
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "controller", Labels: map[string]string{discoveryv1.LabelServiceName: "controller"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{ip.String()}, TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: ns, Name: pod.Name, UID: pod.UID}}},
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &port, Protocol: &protocol}},
	}
	if _, err := cp.Client.DiscoveryV1().EndpointSlices(ns).Create(t.Context(), slice, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the API server to know the endpoint", func() bool {
		_, err := core.Services(ns).ProxyGet("http", "controller", "http", "/healthz", nil).DoRaw(t.Context())
		return err == nil
	})
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
