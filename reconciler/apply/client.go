// Package apply carries out a plan: server-side apply, delete with care, and
// one watch per kind over what was applied, for drift and health.
package apply

import (
	"context"
	"errors"
	"fmt"
	"path"
	"sync"

	"github.com/fluxcd/cli-utils/pkg/object"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// FieldManager owns the fields that are applied. It is Flux's, so that a
// cluster that moves from Flux keeps its ownership.
const FieldManager = "kustomize-controller"

// ErrNoKind says that the cluster does not serve a kind.
var ErrNoKind = errors.New("the cluster does not know this kind")

// ErrUnserved says that the cluster cannot tell whether it serves a kind: the
// API group is down.
var ErrUnserved = errors.New("the API group does not answer")

// An Account is who applies, and where: the ServiceAccount that is
// impersonated, or, without a Name, the controller itself, in the cluster that
// Clients.Connect knows by its id, or, when empty, in the controller's own.
type Account struct{ Namespace, Name, Cluster string }

func (a Account) username() string { return "system:serviceaccount:" + a.Namespace + ":" + a.Name }

// Clients makes one Client per Account, and keeps it.
type Clients struct {
	Config *rest.Config
	Mapper meta.RESTMapper // of NewMapper

	// Override are managers whose fields are taken over too.
	Override Managers

	mu       sync.Mutex
	clients  map[Account]*Client
	clusters map[string]cluster
}

// cluster is another cluster than the controller's own.
type cluster struct {
	config *rest.Config
	mapper meta.RESTMapper
}

// Connect makes another cluster known by an id, once; it makes no request.
func (c *Clients) Connect(id string, config *rest.Config) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.clusters[id]; ok {
		return nil
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	mapper, err := NewMapper(config, client)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if c.clusters == nil {
		c.clusters = map[string]cluster{}
	}
	c.clusters[id] = cluster{config, mapper}
	return nil
}

// Disconnect forgets a cluster and all clients for it.
func (c *Clients) Disconnect(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.clusters, id)
	for a := range c.clients {
		if a.Cluster == id {
			delete(c.clients, a)
		}
	}
}

// For returns the client of an account.
func (c *Clients) For(a Account) (*Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if client, ok := c.clients[a]; ok {
		return client, nil
	}
	client, err := c.open(a)
	if err != nil {
		return nil, fmt.Errorf("client for %s: %w", a.username(), err)
	}
	if c.clients == nil {
		c.clients = map[Account]*Client{}
	}
	c.clients[a] = client
	return client, nil
}

func (c *Clients) open(a Account) (*Client, error) {
	from := cluster{c.Config, c.Mapper}
	if a.Cluster != "" {
		var ok bool
		if from, ok = c.clusters[a.Cluster]; !ok {
			return nil, fmt.Errorf("cluster %s is not connected", a.Cluster)
		}
	}
	config := rest.CopyConfig(from.config)
	config.QPS = -1 // the server's own flow control decides
	config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	if a.Name != "" {
		config.Impersonate = rest.ImpersonationConfig{UserName: a.username()}
	}
	raw, err := rest.UnversionedRESTClientFor(config)
	if err != nil {
		return nil, err
	}
	full, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	slim, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return &Client{raw: raw, full: full, slim: slim, mapper: from.mapper, managers: c.Override}, nil
}

// A Client applies and deletes as one account.
type Client struct {
	raw    rest.Interface
	full   dynamic.Interface
	slim   metadata.Interface
	mapper meta.RESTMapper

	managers Managers
}

// Resource returns where a kind is served, in a version or (empty) in the one
// that the cluster prefers, and whether it lives in namespaces.
func (c *Client) Resource(gk schema.GroupKind, version string) (schema.GroupVersionResource, bool, error) {
	m, err := c.mapper.RESTMapping(gk, version)
	if meta.IsNoMatchError(err) {
		return schema.GroupVersionResource{}, false, noKind(gk, version)
	}
	if err != nil {
		return schema.GroupVersionResource{}, false, fmt.Errorf("%w: find kind %s: %w", ErrUnserved, gk, err)
	}
	return m.Resource, m.Scope.Name() == meta.RESTScopeNameNamespace, nil
}

func noKind(gk schema.GroupKind, version string) error {
	return fmt.Errorf("%w: apply its CustomResourceDefinition first, or correct apiVersion and kind (%s, version %s)", ErrNoKind, gk, version)
}

// current makes of a 404 for a place that is served no longer what it means,
// and has the mapper learn anew.
func (c *Client) current(gk schema.GroupKind, version string, err error) error {
	if !unserved(err) {
		return err
	}
	meta.MaybeResetRESTMapper(c.mapper)
	return noKind(gk, version)
}

// Delete removes an object that owned says is still ours, and only the very
// one that was looked at. It reports whether there was something to delete, which may
// take its time to go. An object whose version is served no longer is deleted
// in another: only a kind that the cluster does not serve at all took its
// objects along.
func (c *Client) Delete(ctx context.Context, id object.ObjMetadata, version string, owned func(metav1.Object) bool) (bool, error) {
	deleted, err := c.delete(ctx, id, version, owned)
	if !errors.Is(err, ErrNoKind) {
		return deleted, err
	}
	meta.MaybeResetRESTMapper(c.mapper)
	deleted, err = c.delete(ctx, id, "", owned)
	if errors.Is(err, ErrNoKind) {
		return false, nil
	}
	return deleted, err
}

func (c *Client) delete(ctx context.Context, id object.ObjMetadata, version string, owned func(metav1.Object) bool) (bool, error) {
	resource, _, err := c.Resource(id.GroupKind, version)
	if err != nil {
		return false, err
	}
	objects := c.slim.Resource(resource).Namespace(id.Namespace)
	live, err := objects.Get(ctx, id.Name, metav1.GetOptions{})
	if err = c.current(id.GroupKind, version, err); apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, explain(id.GroupKind, err)
	}
	if !owned(live) {
		return false, nil
	}
	if live.DeletionTimestamp != nil {
		return true, nil // on its way out already
	}
	uid, policy := live.GetUID(), metav1.DeletePropagationBackground
	err = objects.Delete(ctx, id.Name, metav1.DeleteOptions{
		Preconditions:     &metav1.Preconditions{UID: &uid},
		PropagationPolicy: &policy,
	})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, explain(id.GroupKind, err)
}

// Exists reports whether an object is there.
func (c *Client) Exists(ctx context.Context, id object.ObjMetadata, version string) (bool, error) {
	resource, _, err := c.Resource(id.GroupKind, version)
	if err != nil {
		return false, err
	}
	_, err = c.slim.Resource(resource).Namespace(id.Namespace).Get(ctx, id.Name, metav1.GetOptions{})
	if err = c.current(id.GroupKind, version, err); apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

func absPath(r schema.GroupVersionResource, namespace, name string) string {
	root := path.Join("/apis", r.Group, r.Version)
	if r.Group == "" {
		root = path.Join("/api", r.Version)
	}
	if namespace != "" {
		root = path.Join(root, "namespaces", namespace)
	}
	return path.Join(root, r.Resource, name)
}

// metadataOnly lists the kinds whose content never comes back to us: no value
// of theirs is needed to know that they are there and as applied.
func metadataOnly(gk schema.GroupKind) bool {
	return gk.Group == "" && (gk.Kind == "Secret" || gk.Kind == "ConfigMap")
}
