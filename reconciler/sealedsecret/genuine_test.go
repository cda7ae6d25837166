package sealedsecret_test

import (
	"bytes"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/reconciler/keys"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// kubeseals are the genuine client and ours.
func kubeseals(t *testing.T) map[string]string {
	t.Helper()
	genuine, err := testenv.Binary(t.Context(), "kubeseal", os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	ours := filepath.Join(t.TempDir(), "kubeseal")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", ours, "../../cmd/kubeseal")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build kubeseal: %v\n%s", err, out)
	}
	return map[string]string{"Genuine": genuine, "Ours": ours}
}

// serve makes the HTTP API of the controller reachable as the Service that
// kubeseal looks for, and returns its name.
func (b *bench) serve() string {
	b.t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(b.t.Context(), "tcp", net.JoinHostPort(outward(b.t), "0"))
	if err != nil {
		b.t.Fatal(err)
	}
	server := httptest.NewUnstartedServer((&keys.Controller{Ring: b.ring}).Handler())
	server.Listener = listener
	server.Start()
	b.t.Cleanup(server.Close)
	addr := listener.Addr().(*net.TCPAddr)
	const name = "sealed-secrets-controller"
	port, portName, protocol := int32(addr.Port), "http", corev1.ProtocolTCP
	b.create(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: name},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: portName, Port: 8080, TargetPort: intstr.FromInt32(port)}}},
	})
	b.create(&discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: b.ns, Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: name}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{addr.IP.String()}, TargetRef: b.pod(addr.IP.String())}},
		Ports:       []discoveryv1.EndpointPort{{Name: &portName, Port: &port, Protocol: &protocol}},
	})
	return name
}

// pod makes a Pod that has an address, which the API server's proxy asks of an
// endpoint, and returns a reference to it.
func (b *bench) pod(ip string) *corev1.ObjectReference {
	b.t.Helper()
	b.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "default"}})
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "controller"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "controller", Image: "controller"}}},
	}
	b.create(pod)
	pod.Status.PodIP, pod.Status.PodIPs = ip, []corev1.PodIP{{IP: ip}}
	if err := b.Status().Update(b.t.Context(), pod); err != nil {
		b.t.Fatal(err)
	}
	return &corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID}
}

// outward returns an address of this machine that is not its loopback, which
// the API server takes for no endpoint.
func outward(t *testing.T) string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(addrs, func(a net.Addr) bool {
		ip, ok := a.(*net.IPNet)
		return ok && ip.IP.To4() != nil && ip.IP.IsGlobalUnicast()
	})
	if i < 0 {
		t.Fatal("this machine has no IPv4 address but its loopback: an endpoint of a Service cannot be one")
	}
	return addrs[i].(*net.IPNet).IP.String()
}

// What the genuine kubeseal and ours seal, with the certificate that they
// fetch through the API server, our controller opens: in every scope.
func TestKubeseal(t *testing.T) {
	b := newBench(t)
	b.run()
	b.key()
	service := b.serve()
	for client, path := range kubeseals(t) {
		for _, scope := range []string{"strict", "namespace-wide", "cluster-wide"} {
			t.Run(client+"/"+scope, func(t *testing.T) {
				canary := testenv.NewCanary(t)
				name := strings.ToLower(client) + "-" + scope
				secret, err := yaml.Marshal(&corev1.Secret{
					TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
					ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: name, Labels: map[string]string{"app": "db"}},
					StringData: map[string]string{"password": canary.Value()},
				})
				if err != nil {
					t.Fatal(err)
				}
				cmd := exec.CommandContext(t.Context(), path, "--controller-namespace", b.ns, "--controller-name", service,
					"--kubeconfig", b.cp.Kubeconfig(), "--scope", scope, "-o", "yaml")
				cmd.Stdin = bytes.NewReader(secret)
				var stderr bytes.Buffer
				cmd.Stderr = &stderr
				sealed, err := cmd.Output()
				if err != nil {
					t.Fatalf("kubeseal: %v\n%s", err, stderr.String())
				}
				canary.NotIn(t, "the output of kubeseal", sealed)
				ss := &bitnamiv1alpha1.SealedSecret{}
				if err := yaml.UnmarshalStrict(sealed, ss); err != nil {
					t.Fatal(err)
				}
				b.create(ss)
				b.holds(name, canary.Value())
				b.synced(name, "True")
				if s := b.secret(name); s.Labels["app"] != "db" {
					t.Errorf("labels are %v", s.Labels)
				}
				canary.NotInCluster(t, b.cp, types.NamespacedName{Namespace: b.ns, Name: name})
			})
		}
	}
}

// Without --cert the newest certificate comes through the API server's proxy.
func TestFetchCert(t *testing.T) {
	b := newBench(t)
	b.run()
	b.key()
	service := b.serve()
	outputs := map[string]string{}
	for client, path := range kubeseals(t) {
		out, err := exec.CommandContext(t.Context(), path, "--fetch-cert", "--controller-namespace", b.ns,
			"--controller-name", service, "--kubeconfig", b.cp.Kubeconfig()).Output()
		if err != nil {
			t.Fatalf("%s: %v", client, err)
		}
		outputs[client] = string(out)
	}
	if outputs["Ours"] != outputs["Genuine"] || !strings.HasPrefix(outputs["Ours"], "-----BEGIN CERTIFICATE-----") {
		t.Errorf("ours is %q, the genuine one %q", outputs["Ours"], outputs["Genuine"])
	}
}
