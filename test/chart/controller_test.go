package chart

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/lockstep-dev/lockstep/test/testenv"
)

// controller is cmd/controller as a process of its own: with the arguments and
// the environment of the Deployment's container, and the rights of its account.
type controller struct {
	cmd     *exec.Cmd
	out     string // path of its log
	health  string // its addresses
	sealing string
	ended   chan error
	stopped bool
}

// grace is what Kubernetes gives a Pod to end.
const grace = 30 * time.Second

func startController(t *testing.T, cp *testenv.ControlPlane, d *appsv1.Deployment) *controller {
	t.Helper()
	dir := t.TempDir()
	config, err := cp.ServiceAccount(t.Context(), d.Namespace, d.Spec.Template.Spec.ServiceAccountName)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := testenv.WriteKubeconfig(kubeconfig, config); err != nil {
		t.Fatal(err)
	}
	free := freeAddresses(t, 3)
	c := &controller{out: filepath.Join(dir, "controller.log"), health: free[0], sealing: free[1], ended: make(chan error, 1)}
	out, err := os.Create(c.out)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	// Of a flag that is given twice, the last counts.
	args := append(slices.Clone(d.Spec.Template.Spec.Containers[0].Args),
		"--health-addr="+c.health, "--sealing-addr="+c.sealing, "--metrics-addr="+free[2], "--key-size=2048")
	c.cmd = exec.Command(build(t), args...)
	c.cmd.Env = []string{"KUBECONFIG=" + kubeconfig, "POD_NAMESPACE=" + d.Namespace}
	c.cmd.Dir, c.cmd.Stdout, c.cmd.Stderr = dir, out, out
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { c.ended <- c.cmd.Wait() }()
	t.Cleanup(func() {
		if !c.stopped {
			_ = c.cmd.Process.Kill()
			<-c.ended
		}
		if t.Failed() {
			t.Logf("the controller's log:\n%s", c.log(t))
		}
	})
	return c
}

// build builds the controller from the main module.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "controller")
	cmd := exec.Command("go", "build", "-o", path, "./cmd/controller")
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the controller: %v\n%s", err, out)
	}
	return path
}

// freeAddresses returns n addresses of loopback where nothing listens, no two
// of them the same.
func freeAddresses(t *testing.T, n int) []string {
	t.Helper()
	all := make([]string, n)
	for i := range all {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // when all are known: a port that is free again can be given again
		all[i] = l.Addr().String()
	}
	return all
}

func (c *controller) waitUntilReady(t *testing.T) {
	t.Helper()
	for _, path := range []string{"/healthz", "/readyz"} {
		eventually(t, "the controller's "+path, func() bool { return c.running(t) && get(t.Context(), "http://"+c.health+path) != "" })
	}
}

// certificate waits for the certificate to seal with.
func (c *controller) certificate(t *testing.T) []byte {
	t.Helper()
	var certificate string
	eventually(t, "the sealing certificate", func() bool {
		certificate = get(t.Context(), "http://"+c.sealing+"/v1/cert.pem")
		return c.running(t) && certificate != ""
	})
	return []byte(certificate)
}

// running fails t if the controller has ended.
func (c *controller) running(t *testing.T) bool {
	t.Helper()
	select {
	case err := <-c.ended:
		c.stopped = true
		t.Fatalf("the controller ended: %v", err)
	default:
	}
	return true
}

// stop stops the controller as Kubernetes does, and wants it to end in time
// and without an error.
func (c *controller) stop(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-c.ended:
		c.stopped = true
		if err != nil {
			t.Errorf("the controller ended: %v", err)
		}
	case <-time.After(grace):
		t.Fatalf("the controller did not end within %s of SIGTERM", grace)
	}
}

func (c *controller) log(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(c.out)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}
