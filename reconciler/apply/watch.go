package apply

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"

	"github.com/fluxcd/cli-utils/pkg/object"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/lockstep-dev/lockstep/reconciler/health"
)

// Labels of every object that is applied: which Kustomization it belongs to.
// They are Flux's, so that its client's tree and trace find the owner.
const (
	OwnerName      = "kustomize.toolkit.fluxcd.io/name"
	OwnerNamespace = "kustomize.toolkit.fluxcd.io/namespace"
)

// A Target is what one watch sees: the objects of a kind that carry the owner
// labels, in one namespace or (empty) in all; or, with a Name, one object,
// whoever made it.
type Target struct {
	Account   Account
	Kind      schema.GroupVersionKind
	Namespace string
	Name      string
}

// Observed is what is kept of a live object: enough to see drift and health.
type Observed struct {
	UID     types.UID
	Version int64  // resourceVersion
	Owned   string // digest of the fields that we own, see owned
	Health  health.Result
}

// Watcher runs one watch per Target for as long as somebody requires it.
type Watcher struct {
	Clients *Clients

	// Notify is called, from many goroutines, for the owner of an object that
	// has changed in a way that matters. It must not block.
	Notify func(owner types.NamespacedName)

	mu      sync.Mutex
	watches map[Target]*objects
	needs   map[types.NamespacedName]map[Target]bool
	stopped bool
}

// Require makes sure that exactly the targets are watched for owner. It
// returns without waiting for the first list.
func (w *Watcher) Require(owner types.NamespacedName, targets []Target) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.watches == nil {
		w.watches, w.needs = map[Target]*objects{}, map[types.NamespacedName]map[Target]bool{}
	}
	needed := map[Target]bool{}
	for _, t := range targets {
		if err := w.start(owner, t); err != nil {
			return err
		}
		needed[t] = true
	}
	was := w.needs[owner]
	w.needs[owner] = needed
	if len(needed) == 0 {
		delete(w.needs, owner)
	}
	for t := range was {
		if !needed[t] {
			w.release(owner, t)
		}
	}
	return nil
}

// start begins a watch, or adds owner to those that one serves. w.mu is held.
func (w *Watcher) start(owner types.NamespacedName, t Target) error {
	if set, ok := w.watches[t]; ok {
		set.addOwner(owner)
		return nil
	}
	if w.stopped {
		return context.Canceled
	}
	client, err := w.Clients.For(t.Account)
	if err != nil {
		return err
	}
	lw, example, err := client.listWatch(t)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background()) //nolint:forbidigo // ends with the last owner or with Stop, not with a request
	set := &objects{target: t, notify: w.Notify, cancel: cancel, seen: map[object.ObjMetadata]entry{}, owners: map[types.NamespacedName]bool{owner: true}}
	w.watches[t] = set
	reflector := cache.NewReflectorWithOptions(lw, example, set, cache.ReflectorOptions{Name: "applied", TypeDescription: t.Kind.String()})
	go reflector.RunWithContext(ctx)
	return nil
}

// release drops owner from a watch and ends it with its last owner. w.mu is
// held.
func (w *Watcher) release(owner types.NamespacedName, t Target) {
	if set, ok := w.watches[t]; ok && set.removeOwner(owner) == 0 {
		set.cancel()
		delete(w.watches, t)
	}
}

// Stop ends all watches, for good.
func (w *Watcher) Stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	for t, set := range w.watches {
		set.cancel()
		delete(w.watches, t)
	}
}

// Get returns what is known of an object in a required target.
func (w *Watcher) Get(t Target, id object.ObjMetadata) (Observed, bool) {
	w.mu.Lock()
	set := w.watches[t]
	w.mu.Unlock()
	if set == nil {
		return Observed{}, false
	}
	return set.get(id)
}

// Saw records an object as an apply returned it, which is newer than what the
// watch has told so far, and returns what is kept of it.
func (w *Watcher) Saw(t Target, live *unstructured.Unstructured) Observed {
	w.mu.Lock()
	set := w.watches[t]
	w.mu.Unlock()
	o := observe(live, metadataOnly(t.Kind.GroupKind()))
	if set != nil {
		set.saw(idOf(live, t.Kind), o, ownerOf(live))
	}
	return o
}

// observe reduces a live object to what is kept.
func observe(live *unstructured.Unstructured, slim bool) Observed {
	o := Observed{UID: live.GetUID(), Version: version(live.GetResourceVersion()), Owned: owned(live), Health: health.Result{Status: health.Current}}
	if !slim {
		o.Health = health.Of(live)
	}
	return o
}

// owned digests the list of fields that our manager owns. An edit of such a
// field by somebody else takes it off the list, whatever the value; a write of
// other fields or of the status leaves the list alone. So equal digests mean
// that all that we applied is still there.
//
// Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
func owned(live metav1.Object) string {
	sum := sha256.New()
	for _, f := range live.GetManagedFields() {
		if f.Manager == FieldManager && f.Operation == metav1.ManagedFieldsOperationApply && f.Subresource == "" && f.FieldsV1 != nil {
			_, _ = sum.Write(f.FieldsV1.GetRawBytes())
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}

func idOf(o metav1.Object, kind schema.GroupVersionKind) object.ObjMetadata {
	return object.ObjMetadata{Namespace: o.GetNamespace(), Name: o.GetName(), GroupKind: kind.GroupKind()}
}

func ownerOf(o metav1.Object) types.NamespacedName {
	labels := o.GetLabels()
	return types.NamespacedName{Namespace: labels[OwnerNamespace], Name: labels[OwnerName]}
}

// listWatch returns how to list and watch a target, and an example of what
// comes back.
func (c *Client) listWatch(t Target) (cache.ListerWatcher, runtime.Object, error) {
	resource, namespaced, err := c.Resource(t.Kind.GroupKind(), t.Kind.Version)
	if err != nil {
		return nil, nil, err
	}
	if !namespaced {
		t.Namespace = ""
	}
	narrow := func(o *metav1.ListOptions) {
		if t.Name != "" {
			o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, t.Name).String()
			return
		}
		o.LabelSelector = OwnerName
	}
	if metadataOnly(t.Kind.GroupKind()) {
		objects := c.slim.Resource(resource).Namespace(t.Namespace)
		return &cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				narrow(&o)
				return objects.List(ctx, o)
			},
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				narrow(&o)
				return objects.Watch(ctx, o)
			},
		}, &metav1.PartialObjectMetadata{}, nil
	}
	objects := c.full.Resource(resource).Namespace(t.Namespace)
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			narrow(&o)
			return objects.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			narrow(&o)
			return objects.Watch(ctx, o)
		},
	}, &unstructured.Unstructured{}, nil
}

// toLive gives what a watch sent one form.
func toLive(obj any, kind schema.GroupVersionKind) (*unstructured.Unstructured, error) {
	if tomb, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = tomb.Obj
	}
	if u, ok := obj.(*unstructured.Unstructured); ok {
		return u, nil
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	u := &unstructured.Unstructured{Object: content}
	u.SetGroupVersionKind(kind)
	return u, nil
}
