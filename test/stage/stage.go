// Package stage sets up what the demo, the end-to-end tests and the benchmarks
// play on: a cluster, Vault, AWS and Git, each a real server, and the
// controller between them.
package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	esv1alpha1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1alpha1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// Where things are on every stage.
const (
	SystemNamespace = "lockstep-system" // the controller's
	FluxNamespace   = "flux-system"     // GitRepositories and Kustomizations
	Region          = "us-east-1"
)

// Options says what is on the stage. The zero value has everything.
type Options struct {
	Nodes      int       // simulated nodes; 0 means 2
	WithoutAWS bool      // no AWS endpoint
	Shell      string    // see testenv.ControllerOptions
	Args       []string  // flags of the controller, besides its addresses
	Audit      bool      // see testenv.Options
	Progress   io.Writer // gets a line per step that takes long; default: standard error
	Started    func(what string, took time.Duration)
}

// Stage is everything, running.
type Stage struct {
	Cluster    *testenv.ControlPlane
	Vault      *testenv.Vault
	AWS        *testenv.AWS
	Git        *testenv.GitServer
	Controller *testenv.Controller
	Client     client.WithWatch // as the administrator
	Root       string           // of the repository that this program is part of

	opts    Options
	running []testenv.Stopper
}

// Start sets everything up. ctx bounds the start only; Stop ends it all.
func Start(ctx context.Context, o Options) (*Stage, error) {
	if o.Nodes == 0 {
		o.Nodes = 2
	}
	if o.Progress == nil {
		o.Progress = os.Stderr
	}
	if o.Started == nil {
		o.Started = func(string, time.Duration) {}
	}
	s := &Stage{opts: o}
	if err := s.start(ctx); err != nil {
		tail := s.Tail(15)
		s.Stop()
		return nil, fmt.Errorf("set the stage: %w\n%s", err, tail)
	}
	return s, nil
}

func (s *Stage) start(ctx context.Context) error {
	var err error
	if s.Root, err = testenv.Root(); err != nil {
		return err
	}
	for _, step := range []struct {
		name string
		skip bool
		run  func(context.Context) error
	}{
		{"Kubernetes: etcd, API server, controller manager, scheduler, simulated nodes", false, s.startCluster},
		{"Vault: OpenBao with KV v2, AppRole and Kubernetes auth", false, s.startVault},
		{"AWS: Secrets Manager and STS endpoints", s.opts.WithoutAWS, s.startAWS},
		{"Git: smart HTTP over TLS, and SSH", false, s.startGit},
		{"Lockstep: its programs, compiled", false, s.build},
		{"Lockstep: the controller", false, s.startController},
	} {
		if step.skip {
			continue
		}
		begin := time.Now()
		if err := step.run(ctx); err != nil {
			return err
		}
		s.opts.Started(step.name, time.Since(begin))
	}
	return nil
}

func (s *Stage) startCluster(ctx context.Context) error {
	var err error
	s.Cluster, err = testenv.StartControlPlane(ctx, testenv.Options{
		Nodes: s.opts.Nodes, CRDs: filepath.Join(s.Root, "charts", "lockstep", "crds"), Audit: s.opts.Audit, Progress: s.opts.Progress,
	})
	if err != nil {
		return err
	}
	s.running = append(s.running, s.Cluster)
	scheme, err := Scheme()
	if err != nil {
		return err
	}
	if s.Client, err = client.NewWithWatch(s.Cluster.RestConfig(), client.Options{Scheme: scheme}); err != nil {
		return err
	}
	for _, name := range []string{SystemNamespace, FluxNamespace} {
		if err := s.Ensure(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			return err
		}
	}
	return nil
}

// Scheme holds the kinds that the controller serves, and those of Kubernetes.
func Scheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, sourcev1.AddToScheme, kustomizev1.AddToScheme, bitnamiv1alpha1.AddToScheme, esv1.AddToScheme,
		esv1alpha1.AddToScheme, genv1.AddToScheme,
	} {
		if err := add(s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Stage) startVault(ctx context.Context) error {
	var err error
	if s.Vault, err = testenv.StartVault(ctx, testenv.VaultOptions{Progress: s.opts.Progress}); err == nil {
		s.running = append(s.running, s.Vault)
	}
	return err
}

func (s *Stage) startAWS(ctx context.Context) error {
	var err error
	s.AWS, err = testenv.StartAWS(ctx, testenv.AWSOptions{Issuer: s.Cluster.Issuer(), IssuerCA: s.Cluster.CA(), Progress: s.opts.Progress})
	if err == nil {
		s.running = append(s.running, s.AWS)
	}
	return err
}

func (s *Stage) startGit(ctx context.Context) error {
	var err error
	if s.Git, err = testenv.StartGit(ctx, testenv.GitOptions{TLS: true, Progress: s.opts.Progress}); err == nil {
		s.running = append(s.running, s.Git)
	}
	return err
}

func (s *Stage) startController(ctx context.Context) error {
	kubeconfig, err := s.kubeconfig()
	if err != nil {
		return err
	}
	o := testenv.ControllerOptions{
		Kubeconfig: kubeconfig, Namespace: SystemNamespace, Shell: s.opts.Shell, Args: s.opts.Args,
		// A store of AWS has no field for an authority, and that of Vault in
		// the fleet has none either: a company's own is the system's there.
		Trust: slices.Clone(s.Vault.CA),
	}
	if s.AWS != nil {
		o.Trust = append(o.Trust, s.AWS.CA...)
		o.Env = []string{"AWS_SECRETSMANAGER_ENDPOINT=" + s.AWS.Address(), "AWS_STS_ENDPOINT=" + s.AWS.Address(),
			"AWS_ECR_ENDPOINT=" + s.AWS.Address(), "AWS_ECR_PUBLIC_ENDPOINT=" + s.AWS.Address()}
	}
	if s.Controller, err = testenv.StartController(ctx, o); err == nil {
		s.running = append(s.running, s.Controller)
	}
	return err
}

// build compiles what is to be run later, so that no time is spent on it then.
func (s *Stage) build(ctx context.Context) error {
	for _, name := range []string{"controller", "kubeseal", "lockstep"} {
		if _, err := testenv.Command(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// User is who the controller is to the API server, so that its requests can be
// told from those of others.
const User = "lockstep-controller"

// kubeconfig returns the path of the controller's.
func (s *Stage) kubeconfig() (string, error) {
	config, err := s.Cluster.User(User, "system:masters")
	if err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(s.Cluster.Kubeconfig()), "controller.kubeconfig")
	return path, testenv.WriteKubeconfig(path, config)
}

// Ensure creates objects; those that are there already are left alone.
func (s *Stage) Ensure(ctx context.Context, objects ...client.Object) error {
	for _, o := range objects {
		if err := s.Client.Create(ctx, o); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create %T %s: %w", o, client.ObjectKeyFromObject(o), err)
		}
	}
	return nil
}

// Stop ends everything, the last started first.
func (s *Stage) Stop() {
	for _, part := range slices.Backward(s.running) {
		part.Stop()
	}
	s.running = nil
}

// Keep makes Stop leave the logs.
func (s *Stage) Keep() {
	for _, part := range s.running {
		part.Keep()
	}
}

// Tail returns the last n lines of each log.
func (s *Stage) Tail(n int) string {
	var all string
	for _, part := range s.running {
		all += part.Tail(n)
	}
	return all
}

// Until calls check every interval until it returns true, an error, or ctx
// ends. what completes "waiting for ...".
func Until(ctx context.Context, interval time.Duration, what string, check func() (bool, error)) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		ok, err := check()
		if err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, errors.Join(ctx.Err(), err))
		case <-ticker.C:
		}
	}
}
