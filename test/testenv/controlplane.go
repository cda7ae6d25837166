package testenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Options says what a control plane consists of. The zero value is etcd and an
// API server, ready in about five seconds.
type Options struct {
	// Controllers starts the controller manager: service accounts, namespaces
	// that really go, garbage collection, Deployments and the like.
	Controllers bool
	// Nodes starts KWOK with this many nodes and the scheduler, and Controllers
	// with it: pods run and become Ready, though no image is ever pulled.
	Nodes int
	// Audit writes an audit log at level Metadata to AuditLog.
	Audit bool
	// CRDs is a folder whose CustomResourceDefinitions are installed; it may be empty.
	CRDs string
	// Dir is where everything is kept; it must not exist or be empty. Default: a
	// temporary folder that Stop removes.
	Dir string
	// Progress gets a line per step that takes long. Default: standard error.
	Progress io.Writer
}

// ControlPlane is a running Kubernetes control plane.
type ControlPlane struct {
	opts       Options
	dir        string
	host       string // 127.0.0.1:PORT of the API server
	ca         *authority
	admin      *rest.Config
	kubeconfig string
	processes  []*process // in the order of their start
	keep       bool

	// Client and Dynamic talk as the administrator.
	Client  kubernetes.Interface
	Dynamic dynamic.Interface
}

// startTimeout is how long a control plane may take once its binaries are
// there: ten times what it needs on an idle machine of two cores.
const startTimeout = 90 * time.Second

// StartControlPlane builds what it needs, starts it and waits until it serves.
// ctx bounds the start only; Stop ends what was started.
func StartControlPlane(ctx context.Context, opts Options) (*ControlPlane, error) {
	if opts.Progress == nil {
		opts.Progress = os.Stderr
	}
	opts.Controllers = opts.Controllers || opts.Nodes > 0
	c := &ControlPlane{opts: opts}
	bin, err := c.findBinaries(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := c.start(ctx, bin); err != nil {
		err = fmt.Errorf("testenv: start control plane: %w", err)
		c.keep = true
		c.Stop()
		return nil, fmt.Errorf("%w\nlogs: %s", err, c.Logs())
	}
	return c, nil
}

// binaries maps the name of each component to its path.
type binaries map[string]string

// findBinaries names what to run: that of KUBEBUILDER_ASSETS if it is set, and
// our own otherwise.
func (c *ControlPlane) findBinaries(ctx context.Context) (binaries, error) {
	components := []string{"etcd", "kube-apiserver"}
	if c.opts.Controllers {
		components = append(components, "kube-controller-manager")
	}
	if c.opts.Nodes > 0 {
		components = append(components, "kube-scheduler")
	}
	bin, err := c.findComponents(ctx, components)
	if err == nil && c.opts.Nodes > 0 {
		bin["kwok"], err = Binary(ctx, "kwok", c.opts.Progress)
	}
	return bin, err
}

func (c *ControlPlane) findComponents(ctx context.Context, names []string) (binaries, error) {
	bin := binaries{}
	if assets := os.Getenv("KUBEBUILDER_ASSETS"); assets != "" {
		for _, name := range names {
			bin[name] = filepath.Join(assets, name)
			if _, err := os.Stat(bin[name]); err != nil {
				return nil, fmt.Errorf("testenv: KUBEBUILDER_ASSETS has no %s: %w; unset it to use this repository's own", name, err)
			}
		}
		return bin, nil
	}
	path, err := Binary(ctx, "controlplane", c.opts.Progress)
	for _, name := range names {
		bin[name] = path
	}
	return bin, err
}

func (c *ControlPlane) start(ctx context.Context, bin binaries) error {
	if err := c.prepare(bin); err != nil {
		return err
	}
	if err := c.startAPIServer(ctx); err != nil {
		return err
	}
	if err := c.allowIssuerDiscovery(ctx); err != nil {
		return err
	}
	if c.opts.Controllers {
		if err := c.startControllers(ctx); err != nil {
			return err
		}
	}
	if c.opts.Nodes > 0 {
		if err := c.startNodes(ctx); err != nil {
			return err
		}
	}
	if c.opts.CRDs != "" {
		return InstallCRDs(ctx, c.admin, c.opts.CRDs)
	}
	return nil
}

// prepare makes the folders, the certificates and a link per component, since
// our binary is what it is called.
func (c *ControlPlane) prepare(bin binaries) error {
	var err error
	if c.dir = c.opts.Dir; c.dir == "" {
		// Short, because the path of a unix socket in it has 104 bytes at most.
		if c.dir, err = os.MkdirTemp("", "lockstep-"); err != nil {
			return err
		}
	}
	for _, sub := range []string{"bin", "pki", "logs", "etcd"} {
		if err := os.MkdirAll(filepath.Join(c.dir, sub), 0o700); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(bin)) {
		if err := os.Symlink(bin[name], filepath.Join(c.dir, "bin", name)); err != nil {
			return err
		}
	}
	if c.ca, err = newAuthority(); err != nil {
		return err
	}
	return c.ca.writePKI(filepath.Join(c.dir, "pki"))
}

// run starts one component in the folder of the run.
func (c *ControlPlane) run(name string, args ...string) (*process, error) {
	p, err := launch{name: name, path: filepath.Join(c.dir, "bin", name), args: args, dir: c.dir, logs: c.Logs()}.start()
	if err == nil {
		c.processes = append(c.processes, p)
	}
	return p, err
}

// portAttempts bounds how often another port is tried: between the choice of a
// free port and its use, another process can take it.
const portAttempts = 5

func (c *ControlPlane) startAPIServer(ctx context.Context) error {
	if _, err := c.run("etcd", etcdArgs()...); err != nil {
		return err
	}
	if err := c.waitForSocket(ctx); err != nil {
		return err
	}
	var err error
	for range portAttempts {
		var retry bool
		if retry, err = c.tryAPIServer(ctx); !retry {
			return err
		}
	}
	return err
}

func (c *ControlPlane) tryAPIServer(ctx context.Context) (retry bool, err error) {
	port, err := freePort()
	if err != nil {
		return false, err
	}
	c.host = fmt.Sprintf("127.0.0.1:%d", port)
	if err := c.connect(); err != nil {
		return false, err
	}
	if c.opts.Audit {
		if err := os.WriteFile(filepath.Join(c.dir, "audit.yaml"), []byte(auditPolicy), 0o600); err != nil {
			return false, err
		}
	}
	p, err := c.run("kube-apiserver", c.apiServerArgs(port)...)
	if err != nil {
		return false, err
	}
	err = poll(ctx, 50*time.Millisecond, "the API server to be ready", func(ctx context.Context) (bool, error) {
		return c.ready(ctx), c.ended()
	})
	return err != nil && strings.Contains(p.tail(50), "address already in use"), c.forget(p, err)
}

// forget takes p off the list of what must keep running if err says that it ended.
func (c *ControlPlane) forget(p *process, err error) error {
	if err != nil && p.ended() != nil {
		c.processes = slices.DeleteFunc(c.processes, func(q *process) bool { return q == p })
	}
	return err
}

func (c *ControlPlane) waitForSocket(ctx context.Context) error {
	return poll(ctx, 20*time.Millisecond, "etcd to listen", func(context.Context) (bool, error) {
		_, err := os.Stat(filepath.Join(c.dir, etcdSocket))
		return err == nil, c.ended()
	})
}

// connect makes the administrator's credentials, clients and kubeconfig.
func (c *ControlPlane) connect() error {
	var err error
	if c.admin, c.kubeconfig, err = c.user("admin", "system:masters"); err != nil {
		return err
	}
	if c.Client, err = kubernetes.NewForConfig(c.admin); err != nil {
		return err
	}
	c.Dynamic, err = dynamic.NewForConfig(c.admin)
	return err
}

func (c *ControlPlane) ready(ctx context.Context) bool {
	var status int
	c.Client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).StatusCode(&status)
	return status == http.StatusOK
}

// ended returns an error that names the first component that is gone.
func (c *ControlPlane) ended() error {
	for _, p := range c.processes {
		if err := p.ended(); err != nil {
			return err
		}
	}
	return nil
}

// Stop ends every component, and removes the folder if it was a temporary one
// and Keep was not called. Nothing of it is worth a clean shutdown.
func (c *ControlPlane) Stop() {
	for _, p := range slices.Backward(c.processes) {
		p.kill()
	}
	if c.opts.Dir == "" && !c.keep {
		_ = os.RemoveAll(c.dir) // a temporary folder; the system has the last word
	}
}

// Keep makes Stop leave the folder, with the logs and the data of etcd.
func (c *ControlPlane) Keep() { c.keep = true }

// Err returns why a component ended, or nil while all run.
func (c *ControlPlane) Err() error { return c.ended() }

// Logs is the folder with a NAME.log for each component, and the audit log.
// It holds no secret; the folder around it holds all of them.
func (c *ControlPlane) Logs() string { return filepath.Join(c.dir, "logs") }

// AuditLog is the path of the audit log; see Options.Audit.
func (c *ControlPlane) AuditLog() string { return filepath.Join(c.Logs(), "audit.log") }

// Tail returns the last n lines of each log.
func (c *ControlPlane) Tail(n int) string {
	var b strings.Builder
	for _, p := range c.processes {
		fmt.Fprintf(&b, "--- last lines of %s\n%s\n", p.log, p.tail(n))
	}
	return b.String()
}

// RestConfig returns the administrator's configuration, a copy of its own.
// It has no client-side rate limit, and keeps the server's warnings to itself.
func (c *ControlPlane) RestConfig() *rest.Config { return rest.CopyConfig(c.admin) }

// Kubeconfig is the path of the administrator's kubeconfig.
func (c *ControlPlane) Kubeconfig() string { return c.kubeconfig }

// Issuer is the issuer of service account tokens: <Issuer>/.well-known/openid-configuration
// and <Issuer>/openid/v1/jwks serve without credentials, under the certificate of CA.
func (c *ControlPlane) Issuer() string { return "https://" + c.host }

// CA is the PEM certificate of the authority that signs for the API server.
func (c *ControlPlane) CA() []byte { return slices.Clone(c.ca.pem) }

// Metrics returns what the API server's /metrics says now.
func (c *ControlPlane) Metrics(ctx context.Context) (string, error) {
	data, err := c.Client.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return "", errors.Join(errors.New("read the API server's metrics"), err)
	}
	return string(data), nil
}
