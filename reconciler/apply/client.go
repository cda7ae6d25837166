// Package apply carries out a plan: server-side apply, delete with care, and
// one watch per kind over what was applied, for drift and health.
package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"sync"

	"github.com/fluxcd/cli-utils/pkg/object"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
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

// An Account is who applies: the ServiceAccount that is impersonated, or, when
// empty, the controller itself.
type Account struct{ Namespace, Name string }

func (a Account) username() string { return "system:serviceaccount:" + a.Namespace + ":" + a.Name }

// Clients makes one Client per Account, and keeps it.
type Clients struct {
	Config *rest.Config
	Mapper meta.RESTMapper

	mu      sync.Mutex
	clients map[Account]*Client
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
	config := rest.CopyConfig(c.Config)
	config.QPS = -1 // the server's own flow control decides
	config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	if a != (Account{}) {
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
	return &Client{raw: raw, full: full, slim: slim, mapper: c.Mapper}, nil
}

// A Client applies and deletes as one account.
type Client struct {
	raw    rest.Interface
	full   dynamic.Interface
	slim   metadata.Interface
	mapper meta.RESTMapper
}

// Resource returns where a kind is served and whether it lives in namespaces.
func (c *Client) Resource(gk schema.GroupKind, version string) (schema.GroupVersionResource, bool, error) {
	m, err := c.mapper.RESTMapping(gk, version)
	if meta.IsNoMatchError(err) {
		return schema.GroupVersionResource{}, false, fmt.Errorf("%w: apply its CustomResourceDefinition first, or correct apiVersion and kind (%s, version %s)", ErrNoKind, gk, version)
	}
	if err != nil {
		return schema.GroupVersionResource{}, false, fmt.Errorf("find kind %s: %w", gk, err)
	}
	return m.Resource, m.Scope.Name() == meta.RESTScopeNameNamespace, nil
}

// Apply applies o by server-side apply and returns the object as it is then;
// of a Secret or ConfigMap, its metadata only.
func (c *Client) Apply(ctx context.Context, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	gvk := o.GroupVersionKind()
	resource, _, err := c.Resource(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(o.Object)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	request := c.raw.Patch(types.ApplyPatchType).
		AbsPath(absPath(resource, o.GetNamespace(), o.GetName())).
		Param("fieldManager", FieldManager).
		Param("force", "true").
		Body(body)
	if metadataOnly(gvk.GroupKind()) {
		request.SetHeader("Accept", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")
	} else {
		request.SetHeader("Accept", "application/json")
	}
	raw, err := request.Do(ctx).Raw()
	if err != nil {
		return nil, explain(gvk.GroupKind(), decode(raw, err))
	}
	live := &unstructured.Unstructured{}
	if err := json.Unmarshal(raw, &live.Object); err != nil {
		return nil, fmt.Errorf("decode the applied object: %w", err)
	}
	live.SetGroupVersionKind(gvk)
	return live, nil
}

// decode makes a status error of the answer where the client did not: asked
// for raw bytes, it keeps the body of an error for its caller.
func decode(raw []byte, err error) error {
	var status metav1.Status
	if json.Unmarshal(raw, &status) == nil && status.Kind == "Status" && status.Status == metav1.StatusFailure {
		return &apierrors.StatusError{ErrStatus: status}
	}
	return err
}

// Delete removes an object that owned says is still ours, and only the very
// one that was looked at. It reports whether there was something to delete.
func (c *Client) Delete(ctx context.Context, id object.ObjMetadata, version string, owned func(metav1.Object) bool) (bool, error) {
	resource, _, err := c.Resource(id.GroupKind, version)
	if errors.Is(err, ErrNoKind) {
		return false, nil // its kind is gone, and the object with it
	}
	if err != nil {
		return false, err
	}
	objects := c.slim.Resource(resource).Namespace(id.Namespace)
	live, err := objects.Get(ctx, id.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, explain(id.GroupKind, err)
	}
	if !owned(live) {
		return false, nil
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
	if apierrors.IsNotFound(err) {
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
