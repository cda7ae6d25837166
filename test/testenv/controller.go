package testenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// Command builds one of the product's commands, such as controller or
// kubeseal, and returns the path of the program. Go's build cache makes this
// quick when nothing changed; the first time may take minutes. A process builds
// each command once.
func Command(ctx context.Context, name string) (string, error) {
	commands.Lock()
	defer commands.Unlock()
	if path, ok := commands.built[name]; ok {
		return path, nil
	}
	path, err := build(ctx, name)
	if err == nil {
		commands.built[name] = path
	}
	return path, err
}

// commands are those that this process has built.
var commands = struct {
	sync.Mutex
	built map[string]string
}{built: map[string]string{}}

// releaseTags are those of make build. Kustomize's plugins in Go are off in any
// case; without this tag they make the linker keep and export every function.
const releaseTags = "kustomize_disable_go_plugin_support"

func build(ctx context.Context, name string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	cache, err := binaryCache()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, "lockstep-"+name)
	tmp := path + "." + strconv.Itoa(os.Getpid())
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-tags", releaseTags, "-o", tmp, "./cmd/"+name)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("testenv: build cmd/%s: %w\n%s", name, err, tail(string(out), 40))
	}
	// Not in place: another test may be running the one that is there.
	if err := os.Rename(tmp, path); err != nil {
		return "", fmt.Errorf("testenv: build cmd/%s: %w", name, err)
	}
	return path, nil
}

// ControllerOptions says how the controller runs. Kubeconfig and Namespace are
// required.
type ControllerOptions struct {
	Kubeconfig string
	Namespace  string   // its own
	Args       []string // besides those for its addresses and its namespace
	Env        []string // besides this process's
	// Shell, if set, is run by sh instead of the product's controller, with
	// KUBECONFIG and POD_NAMESPACE in its environment and no flags. It is taken
	// to be ready at once.
	Shell string
	// Trust are PEM certificates of authorities, besides the system's own: what
	// the controller reaches that has no field for one.
	Trust []byte
}

// Controller is a running controller.
type Controller struct {
	opts    ControllerOptions
	process *process
	dir     string
	path    string
	keep    bool

	// Health, Metrics, Sealing and Events are the addresses of its servers,
	// HOST:PORT.
	Health, Metrics, Sealing, Events string
}

// StartController builds the controller and starts it, and waits until it is
// ready. ctx bounds the start only.
func StartController(ctx context.Context, o ControllerOptions) (*Controller, error) {
	c := &Controller{opts: o}
	var err error
	if o.Shell == "" {
		if c.path, err = Command(ctx, "controller"); err != nil {
			return nil, err
		}
	}
	if c.dir, err = os.MkdirTemp("", "lockstep-controller-"); err != nil {
		return nil, fmt.Errorf("testenv: start controller: %w", err)
	}
	for _, addr := range []*string{&c.Health, &c.Metrics, &c.Sealing, &c.Events} {
		port, err := freePort()
		if err != nil {
			return nil, fmt.Errorf("testenv: start controller: %w", err)
		}
		*addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	if err := c.trust(); err != nil {
		return nil, fmt.Errorf("testenv: start controller: %w", err)
	}
	if err := c.Start(ctx); err != nil {
		c.keep = true
		return nil, err
	}
	return c, nil
}

// trust makes the file of authorities that the controller gets as the system's.
func (c *Controller) trust() error {
	if len(c.opts.Trust) == 0 {
		return nil
	}
	path := filepath.Join(c.dir, "authorities.pem")
	c.opts.Env = append(c.opts.Env, "SSL_CERT_FILE="+path)
	return os.WriteFile(path, c.opts.Trust, 0o600)
}

// Start starts a controller that was stopped or killed, at the same addresses.
func (c *Controller) Start(ctx context.Context) error {
	l := launch{name: "controller", path: c.path, dir: c.dir, logs: c.dir,
		env: append([]string{"KUBECONFIG=" + c.opts.Kubeconfig, "POD_NAMESPACE=" + c.opts.Namespace}, c.opts.Env...)}
	if c.opts.Shell != "" {
		l.path, l.args = "/bin/sh", []string{"-c", c.opts.Shell}
	} else {
		l.args = append([]string{"--health-addr=" + c.Health, "--metrics-addr=" + c.Metrics, "--sealing-addr=" + c.Sealing, "--events-addr=" + c.Events}, c.opts.Args...)
	}
	var err error
	if c.process, err = l.start(); err != nil {
		return fmt.Errorf("testenv: %w", err)
	}
	if c.opts.Shell != "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, controllerStart)
	defer cancel()
	err = poll(ctx, 20*time.Millisecond, "the controller to be ready", func(ctx context.Context) (bool, error) {
		_, err := get(ctx, "http://"+c.Health+"/readyz")
		return err == nil, c.process.ended()
	})
	if err != nil {
		return fmt.Errorf("testenv: start controller: %w\n%s", err, c.process.tail(20))
	}
	return nil
}

// controllerStart is how long the controller may take to be ready: fifty times
// what it needs.
const controllerStart = 30 * time.Second

// get returns the body of an answer with status 200.
func get(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(answer.Status)
	}
	return body, err
}

// Certificate returns the PEM certificate that the controller serves to
// kubeseal, as soon as it has one.
func (c *Controller) Certificate(ctx context.Context) ([]byte, error) {
	var cert []byte
	err := poll(ctx, 20*time.Millisecond, "the sealing key", func(ctx context.Context) (bool, error) {
		var err error
		cert, err = get(ctx, "http://"+c.Sealing+"/v1/cert.pem")
		return err == nil, c.process.ended()
	})
	return cert, err
}

// MetricsText returns what /metrics says now.
func (c *Controller) MetricsText(ctx context.Context) (string, error) {
	body, err := get(ctx, "http://"+c.Metrics+"/metrics")
	return string(body), err
}

// Usage returns the processor time that the controller has used, and the
// memory that it holds (RSS) and has held at most, in bytes. It reads /proc,
// which Linux has.
func (c *Controller) Usage() (cpu time.Duration, rss, peak int64, err error) {
	return usage(strconv.Itoa(c.process.cmd.Process.Pid))
}

// Kill ends the controller at once, as kill -9 does.
func (c *Controller) Kill() { c.process.kill() }

// Signal sends the controller a signal.
func (c *Controller) Signal(signal os.Signal) error { return c.process.cmd.Process.Signal(signal) }

// Halt asks the controller to end, as Kubernetes does, and waits for it.
func (c *Controller) Halt() { c.process.stop(25 * time.Second) }

// Stop ends the controller and removes its folder, unless Keep was called.
func (c *Controller) Stop() {
	if c.process != nil {
		c.Halt()
	}
	if !c.keep {
		_ = os.RemoveAll(c.dir) // a leftover of a temporary folder harms nobody
	}
}

// Keep makes Stop leave the log.
func (c *Controller) Keep() { c.keep = true }

// Tail returns the last n lines of the log.
func (c *Controller) Tail(n int) string {
	return fmt.Sprintf("--- controller (%s)\n%s\n", c.process.log, c.process.tail(n))
}

// Logs is the folder with the log, and all other files of the run.
func (c *Controller) Logs() string { return c.dir }

// Log returns all that the controller has logged.
func (c *Controller) Log() ([]byte, error) { return os.ReadFile(c.process.log) }
