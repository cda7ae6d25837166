// Package cluster finds the cluster and the controller that a command is about.
package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/lockstep-dev/lockstep/sealer"
)

// timeout is how long the controller may take to answer: to seal a large object
// again takes it a minute.
const timeout = 2 * time.Minute

// Flags say which cluster and which controller are meant, as with kubeseal and
// kubectl.
type Flags struct {
	Namespace string // of the controller
	Name      string // of its Service

	rules     *clientcmd.ClientConfigLoadingRules
	overrides *clientcmd.ConfigOverrides
}

// envPrefix begins the variables that say where the controller is: those that
// kubeseal reads too.
const envPrefix = "SEALED_SECRETS_CONTROLLER_"

// Bind adds the flags of a command.
func (f *Flags) Bind(flags *pflag.FlagSet) {
	f.rules, f.overrides = clientcmd.NewDefaultClientConfigLoadingRules(), &clientcmd.ConfigOverrides{}
	flags.StringVar(&f.rules.ExplicitPath, "kubeconfig", "", "path of the kubeconfig (default $KUBECONFIG, or ~/.kube/config)")
	flags.StringVar(&f.overrides.CurrentContext, "context", "", "context of the kubeconfig")
	flags.StringVar(&f.Namespace, "controller-namespace", cmp.Or(os.Getenv(envPrefix+"NAMESPACE"), metav1.NamespaceSystem), "namespace of the controller, its Service and its keys ($"+envPrefix+"NAMESPACE)")
	flags.StringVar(&f.Name, "controller-name", cmp.Or(os.Getenv(envPrefix+"NAME"), "sealed-secrets-controller"), "name of the controller's Service ($"+envPrefix+"NAME)")
}

// ErrNone says that there is no kubeconfig that names a cluster.
var ErrNone = errors.New("no cluster is configured: name a kubeconfig with --kubeconfig or $KUBECONFIG")

func (f *Flags) client() clientcmd.ClientConfig {
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(f.rules, f.overrides)
}

// DefaultNamespace returns the namespace of the kubeconfig's context. Its error
// is an ErrNone if there is no kubeconfig.
func (f *Flags) DefaultNamespace() (string, error) {
	namespace, _, err := f.client().Namespace()
	return namespace, plain(err)
}

// REST returns how to reach the cluster. Its error is an ErrNone if none is
// configured.
func (f *Flags) REST() (*rest.Config, error) {
	config, err := f.client().ClientConfig()
	if err != nil {
		return nil, plain(err)
	}
	config.QPS = -1 // the API server's own flow control decides
	return config, nil
}

func plain(err error) error {
	if clientcmd.IsEmptyConfig(err) {
		return ErrNone // without advice about variables that nobody sets
	}
	if err != nil {
		return fmt.Errorf("find the cluster: %w", err)
	}
	return nil
}

// Controller is the HTTP API of a controller, through the API server's proxy.
type Controller struct {
	// Server is the address of the API server in the kubeconfig: by it a cluster
	// is known before it says who it is.
	Server string

	kube            kubernetes.Interface
	namespace, name string
	port            string
}

// Controller finds the controller by its Service.
func (f *Flags) Controller(ctx context.Context) (*Controller, error) {
	config, err := f.REST()
	if err != nil {
		return nil, err
	}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	service, err := kube.CoreV1().Services(f.Namespace).Get(ctx, f.Name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("find the controller: %w: see --controller-namespace and --controller-name", err)
	}
	if len(service.Spec.Ports) == 0 {
		return nil, fmt.Errorf("service %s/%s has no ports: is it the controller's?", f.Namespace, f.Name)
	}
	return &Controller{Server: config.Host, kube: kube, namespace: f.Namespace, name: f.Name, port: service.Spec.Ports[0].Name}, nil
}

// Get returns what the controller has under a path, of at most
// sealer.MaxBundle bytes; found is false if it does not know the path.
func (c *Controller) Get(ctx context.Context, path string) (text []byte, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	body, err := c.kube.CoreV1().Services(c.namespace).ProxyGet("http", c.name, c.port, path, nil).Stream(ctx)
	if apierrors.IsNotFound(err) {
		return nil, false, nil
	}
	if apierrors.IsServiceUnavailable(err) {
		err = fmt.Errorf("%w: it does not run, or has no sealing key yet: see lockstep keys list", err)
	}
	if err != nil {
		return nil, false, fmt.Errorf("ask the controller for %s: %w", path, err)
	}
	defer body.Close()
	text, err = Limited(body)
	return text, true, err
}

// Post sends the controller something, and returns its answer.
func (c *Controller) Post(ctx context.Context, path, contentType string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return c.kube.CoreV1().RESTClient().Post().Namespace(c.namespace).Resource("services").SubResource("proxy").
		Name("http:"+c.name+":"+c.port).Suffix(path).SetHeader("Content-Type", contentType).Body(body).DoRaw(ctx)
}

// Limited reads published keys, which are of a limited size.
func Limited(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, sealer.MaxBundle+1))
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	if len(text) > sealer.MaxBundle {
		return nil, fmt.Errorf("the keys have more than %d bytes", sealer.MaxBundle)
	}
	return text, nil
}

// Args is the check of the arguments of a command: at least and at most so many,
// where -1 is any number. Its error shows how to call it.
func Args(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || most >= 0 && len(args) > most {
			return fmt.Errorf("%d arguments are given; call it as: %s", len(args), cmd.UseLine())
		}
		return nil
	}
}
