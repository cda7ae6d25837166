package apply

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"

	"github.com/fluxcd/cli-utils/pkg/object"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
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
	Rules     *health.Rules // how to judge the health of the kind; nil is kstatus
}

// Observed is what is kept of a live object: enough to see drift and health.
type Observed struct {
	UID     types.UID
	Version int64  // resourceVersion
	Owned   string // digest of the fields that we own, see owned
	Health  health.Result
	Mode    Mode   // that the live object asks for
	Foreign bool   // others have set fields that pass to us
	Writer  string // the field manager that wrote last, if it was not us
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
	narrow  map[access]bool // what may not be listed in the whole cluster
	stopped bool
}

// access is an account's use of a kind.
type access struct {
	account Account
	kind    schema.GroupVersionKind
}

// Narrow reports whether an account has been refused a kind's objects of the
// whole cluster, so that they must be watched namespace by namespace.
func (w *Watcher) Narrow(a Account, kind schema.GroupVersionKind) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.narrow[access{a, kind}]
}

// refused notes that a watch of the whole cluster is forbidden, and has its
// owners come back to require narrower ones.
func (w *Watcher) refused(t Target) {
	w.mu.Lock()
	if w.narrow == nil {
		w.narrow = map[access]bool{}
	}
	w.narrow[access{t.Account, t.Kind}] = true
	set := w.watches[t]
	w.mu.Unlock()
	if set != nil {
		set.tellAll()
	}
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

// Watches reports whether a target is watched.
func (w *Watcher) Watches(t Target) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.watches[t]
	return ok
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
	list := lw.ListWithContextFunc
	lw.ListWithContextFunc = func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		found, err := list(ctx, o)
		if apierrors.IsForbidden(err) && t.Namespace == "" && t.Name == "" {
			w.refused(t)
		}
		return found, err
	}
	ctx, cancel := context.WithCancel(context.Background()) //nolint:forbidigo // ends with the last owner or with Stop, not with a request
	set := &objects{target: t, override: w.Clients.Override, notify: w.Notify, cancel: cancel, seen: map[object.ObjMetadata]entry{}, owners: map[types.NamespacedName]bool{owner: true}}
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
	o := observe(live, t, w.Clients.Override)
	if set != nil {
		set.saw(idOf(live, t.Kind), o, ownerOf(live))
	}
	return o
}

// observe reduces a live object to what is kept.
func observe(live *unstructured.Unstructured, t Target, override Managers) Observed {
	o := Observed{
		UID: live.GetUID(), Version: version(live.GetResourceVersion()), Owned: owned(live), Health: health.Result{Status: health.Current},
		Mode: ModeOf(live), Foreign: override.foreign(live), Writer: writer(live),
	}
	switch {
	case t.Rules != nil:
		o.Health = t.Rules.Of(live)
	case !metadataOnly(t.Kind.GroupKind()):
		o.Health = health.Of(live)
	}
	return o
}

// writer names who wrote last, by the times that the API server notes, or ""
// if it was us.
func writer(live metav1.Object) string {
	name, latest := "", time.Time{}
	for _, f := range live.GetManagedFields() {
		if f.Time == nil || f.Subresource != "" || f.Time.Time.Before(latest) {
			continue
		}
		latest, name = f.Time.Time, f.Manager
	}
	if name == FieldManager {
		return ""
	}
	return name
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
