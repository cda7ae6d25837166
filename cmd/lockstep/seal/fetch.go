package seal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/lockstep-dev/lockstep/sealer"
)

// timeout is how long the controller may take to answer.
const timeout = 30 * time.Second

// remote is the controller, through the API server's proxy.
type remote struct {
	client          kubernetes.Interface
	namespace, name string
	port            string
	server          string // of the kubeconfig: by it a cluster is known before it says who it is
}

func (c *cluster) connect(ctx context.Context) (*remote, error) {
	config, err := c.config().ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w: or name a file with --cert", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	service, err := client.CoreV1().Services(c.controllerNamespace).Get(ctx, c.controllerName, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("find the controller: %w: see --controller-namespace and --controller-name", err)
	}
	if len(service.Spec.Ports) == 0 {
		return nil, fmt.Errorf("service %s/%s has no ports: is it the controller's?", c.controllerNamespace, c.controllerName)
	}
	return &remote{client: client, namespace: c.controllerNamespace, name: c.controllerName, port: service.Spec.Ports[0].Name, server: config.Host}, nil
}

// get returns what the controller has under a path; found is false if it does
// not know the path.
func (r *remote) get(ctx context.Context, path string) (text []byte, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	body, err := r.client.CoreV1().Services(r.namespace).ProxyGet("http", r.name, r.port, path, nil).Stream(ctx)
	if apierrors.IsNotFound(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("ask the controller for %s: %w", path, err)
	}
	defer body.Close()
	text, err = limited(body)
	return text, true, err
}

// verify asks the controller whether it opens a SealedSecret.
func (r *remote) verify(ctx context.Context, manifest []byte) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := r.client.CoreV1().RESTClient().Post().Namespace(r.namespace).Resource("services").SubResource("proxy").
		Name("http:"+r.name+":"+r.port).Suffix("/v1/verify").SetHeader("Content-Type", "application/yaml").
		Body(bytes.NewReader(manifest)).Do(ctx).Error()
	var status apierrors.APIStatus
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &status) && status.Status().Code == http.StatusConflict:
		return false, nil
	default:
		return false, fmt.Errorf("ask the controller: %w", err)
	}
}

func limited(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, sealer.MaxBundle+1))
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	if len(text) > sealer.MaxBundle {
		return nil, fmt.Errorf("the keys have more than %d bytes", sealer.MaxBundle)
	}
	return text, nil
}

func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return limited(f)
}

// errEmpty says that a file that should hold keys holds none.
var errEmpty = errors.New("it holds neither published keys, nor a public key, nor a certificate")
