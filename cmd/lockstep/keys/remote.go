package keys

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/reconciler/reseal"
	"github.com/lockstep-dev/lockstep/reconciler/reseal/rewrite"
	"github.com/lockstep-dev/lockstep/sealer"
)

// remote has the controller seal again, through the API server: /v1/rotate. It
// implements reseal.Opener.
type remote struct {
	client  kubernetes.Interface
	service string // as the proxy takes it: http:NAME:PORT
	in      string // its namespace
	newest  string // fingerprint of the newest key

	keys   map[string]string // the key of values in the cluster whose object is on one alone
	bundle *sealer.Bundle    // nil if the controller publishes no keys of envelope 2
}

func (r *resealing) remote(ctx context.Context, objects []bitnamiv1alpha1.SealedSecret) (*remote, error) {
	config, err := r.rest()
	if err != nil {
		return nil, err
	}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to cluster: %w", err)
	}
	service, err := kube.CoreV1().Services(r.cluster.namespace).Get(ctx, r.controllerName, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("find the controller: %w: see --controller-namespace and --controller-name", err)
	}
	if len(service.Spec.Ports) == 0 {
		return nil, fmt.Errorf("service %s/%s has no ports: is it the controller's?", r.cluster.namespace, r.controllerName)
	}
	port := service.Spec.Ports[0].Name
	text, err := kube.CoreV1().Services(r.cluster.namespace).ProxyGet("http", r.controllerName, port, "/v1/cert.pem", nil).DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask the controller for its certificate: %w", err)
	}
	cert, err := sealer.ParseCertificate(text)
	if err != nil {
		return nil, fmt.Errorf("the controller's certificate: %w", err)
	}
	newest, err := sealer.Fingerprint(cert.PublicKey)
	if err != nil {
		return nil, err
	}
	bundle, err := r.published(ctx, kube, port)
	if err != nil {
		return nil, err
	}
	return &remote{client: kube, service: "http:" + r.controllerName + ":" + port, in: r.cluster.namespace, newest: newest, keys: keysOf(objects), bundle: bundle}, nil
}

// published returns the keys that the controller publishes; nil if it knows no
// envelope 2, or has no key of it yet.
func (r *resealing) published(ctx context.Context, kube kubernetes.Interface, port string) (*sealer.Bundle, error) {
	text, err := kube.CoreV1().Services(r.cluster.namespace).ProxyGet("http", r.controllerName, port, "/v1/keys", nil).DoRaw(ctx)
	if apierrors.IsNotFound(err) || apierrors.IsServiceUnavailable(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ask the controller for its keys: %w", err)
	}
	bundle, err := sealer.ParseBundle(text)
	if err != nil {
		return nil, fmt.Errorf("the controller's keys: %w", err)
	}
	return bundle, nil
}

// look says of a value of envelope 2 what is public: whether it is on the newest
// key, and an error if it was sealed for others too. The controller does not
// know their keys.
func (r *remote) look(value string) (newest bool, err error) {
	if r.bundle == nil || !sealer.IsEnvelope2(value) {
		return false, nil
	}
	sealed, err := sealer.ParseSealed(value)
	if err != nil {
		return false, err
	}
	var others []string
	for _, a := range sealed.Addresses() {
		newest = newest || a.Key == r.bundle.Newest().ID
		if a.Cluster != r.bundle.Cluster() {
			others = append(others, "key "+a.String())
		}
	}
	if !newest && len(others) > 0 {
		return false, fmt.Errorf("%w: %s: seal it again here, with --cluster-keys and --recipient", sealer.ErrRecipients, strings.Join(others, ", "))
	}
	return newest, nil
}

// keysOf returns the key of every value of the objects that have one alone.
func keysOf(objects []bitnamiv1alpha1.SealedSecret) map[string]string {
	keys := map[string]string{}
	for i := range objects {
		uses := objects[i].Uses()
		if len(uses) != 1 || objects[i].Status.Target.Generation != objects[i].Generation {
			continue
		}
		for _, value := range objects[i].Spec.EncryptedData {
			keys[strings.TrimSpace(value)] = uses[0].Key
		}
	}
	return keys
}

// rotateTimeout is how long the controller may take for one SealedSecret.
const rotateTimeout = 2 * time.Minute

// Reseal implements reseal.Opener. What the cluster knows to be on the newest
// key is left alone; what it does not know is sealed again.
func (r *remote) Reseal(ctx context.Context, at sealer.Binding, items []*rewrite.Item) []reseal.Result {
	results := make([]reseal.Result, len(items))
	wanted := map[string]string{}
	for i, item := range items {
		value := strings.TrimSpace(item.Value)
		results[i].From = r.keys[value]
		newest, err := r.look(value)
		if newest {
			results[i].From = r.newest
		}
		results[i].Err = err
		if results[i].From != r.newest && err == nil {
			wanted[item.Name] = value
		}
	}
	if len(wanted) == 0 {
		return results
	}
	values, err := r.rotate(ctx, at, wanted)
	for i, item := range items {
		if _, ok := wanted[item.Name]; !ok {
			continue
		}
		results[i].Err = err
		if err == nil {
			results[i].Next = values[item.Name]
		}
	}
	return results
}

func (r *remote) rotate(ctx context.Context, at sealer.Binding, items map[string]string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, rotateTimeout)
	defer cancel()
	body, err := json.Marshal(map[string]any{
		"apiVersion": bitnamiv1alpha1.GroupVersion.String(), "kind": bitnamiv1alpha1.SealedSecretKind,
		"metadata": map[string]any{"namespace": at.Namespace, "name": nameOf(at), "annotations": annotationsOf(at.Scope)},
		"spec":     map[string]any{"encryptedData": items},
	})
	if err != nil {
		return nil, err
	}
	answer, err := r.client.CoreV1().RESTClient().Post().Namespace(r.in).Resource("services").SubResource("proxy").
		Name(r.service).Suffix("/v1/rotate").SetHeader("Content-Type", "application/json").Body(body).DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("the controller does not seal it again: does it open it? %w", err)
	}
	var ss bitnamiv1alpha1.SealedSecret
	if err := json.Unmarshal(answer, &ss); err != nil {
		return nil, errors.New("what the controller answers is no SealedSecret")
	}
	for name := range items {
		if ss.Spec.EncryptedData[name] == "" {
			return nil, fmt.Errorf("the controller's answer lacks the item %q", name)
		}
	}
	return ss.Spec.EncryptedData, nil
}

// nameOf is a name for what may have any: a SealedSecret is never without.
func nameOf(at sealer.Binding) string {
	if at.Name == "" {
		return "any"
	}
	return at.Name
}

func annotationsOf(scope sealer.Scope) map[string]string {
	switch scope {
	case sealer.ClusterWide:
		return map[string]string{bitnamiv1alpha1.AnnotationClusterWide: "true"}
	case sealer.NamespaceWide:
		return map[string]string{bitnamiv1alpha1.AnnotationNamespaceWide: "true"}
	default:
		return nil
	}
}
