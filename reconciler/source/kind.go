package source

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/lockstep-dev/lockstep/reconciler"
)

// Deps are what the controller of any kind of source works with. All are
// required but Workers.
type Deps struct {
	Client   client.Client
	Metadata client.Reader // metadata of Secrets, from a cache
	Secrets  client.Reader // Secrets, from the API server
	Recorder record.EventRecorder
	Store    *Store
	Workers  int // objects worked on at once; 0 means 4
}

// Fields are what a kind of source has in common with the others.
type Fields struct {
	Interval time.Duration
	Timeout  *metav1.Duration
	Suspend  bool

	Artifact           **meta.Artifact
	ObservedGeneration *int64
	Handled            *meta.ReconcileRequestStatus
}

// Kind is a kind of source besides GitRepository. S is what is remembered of
// an object from one run to the next.
type Kind[T reconciler.Object, S any] struct {
	Name   string // as in the API
	New    func() T
	List   func() client.ObjectList
	Fields func(T) Fields
	// Reason is that of failures that have none of their own.
	Reason string
	// Secrets are the names of the Secrets that an object uses.
	Secrets func(T) []string

	// Fetch returns what the source holds now, and may set conditions. What it
	// remembered from the last run is in the Run.
	Fetch func(ctx context.Context, r *Run[T, S]) (Snapshot, error)
	// Restore returns what the source held when it was suspended, as the
	// artifact of its status says.
	Restore func(ctx context.Context, r *Run[T, S]) (Snapshot, error)
	// Metadata is that of the artifact; nil for a kind that has none.
	Metadata func(s *S) map[string]string
}

// Run is one run for one object.
type Run[T reconciler.Object, S any] struct {
	Object T
	State  *S
	read   Secrets
}

// Secret returns the values of the Secret that a field names; nil if it names
// none.
func (r *Run[T, S]) Secret(ctx context.Context, field string, ref *meta.LocalObjectReference) (map[string][]byte, error) {
	return r.read.Get(ctx, field, ref)
}

// Account returns a ServiceAccount of the object's namespace, from the API
// server.
func (r *Run[T, S]) Account(ctx context.Context, name string) (*corev1.ServiceAccount, error) {
	account := &corev1.ServiceAccount{}
	if err := r.read.Reader.Get(ctx, client.ObjectKey{Namespace: r.read.Namespace, Name: name}, account); err != nil {
		return nil, fmt.Errorf("spec.serviceAccountName: read ServiceAccount %s/%s: %w", r.read.Namespace, name, err)
	}
	return account, nil
}

// KindController reconciles the objects of a kind.
type KindController[T reconciler.Object, S any] struct {
	Deps
	Kind Kind[T, S]

	mu     sync.Mutex
	states map[types.NamespacedName]*kindState[S]
}

type kindState[S any] struct {
	uid     types.UID
	secrets SecretCache
	own     S
}

func (c *KindController[T, S]) loop() *reconciler.Loop[T] {
	return &reconciler.Loop[T]{
		Client: c.Client, Recorder: c.Recorder, New: c.Kind.New,
		Meter:     reconciler.NewDurations(c.Kind.Name),
		Apply:     c.apply,
		Every:     func(o T) time.Duration { return c.Kind.Fields(o).Interval },
		Suspended: func(o T) bool { return c.Kind.Fields(o).Suspend },
		Restore:   c.restore,
		// Flux's finalizer is not needed, but taken off what Flux left behind.
		Finalizer: sourcev1.SourceFinalizer,
		Needs:     func(T) bool { return false },
		Finalize:  func(context.Context, T) error { return nil },
		Gone:      c.gone,
		Success: func(o T) (string, string) {
			return meta.SucceededReason, stored(*c.Kind.Fields(o).Artifact)
		},
		Observe: c.observe,
		EventReason: func(ready metav1.Condition) string {
			if ready.Status == metav1.ConditionTrue {
				return "NewArtifact"
			}
			return ready.Reason
		},
	}
}

func (c *KindController[T, S]) observe(o T, err error) {
	f := c.Kind.Fields(o)
	*f.ObservedGeneration = o.GetGeneration()
	if at, ok := meta.ReconcileAnnotationValue(o.GetAnnotations()); ok {
		f.Handled.SetLastHandledReconcileRequest(at)
	}
	conditions := o.GetConditions()
	outcome(&conditions, o.GetGeneration(), *f.Artifact, err)
	o.SetConditions(conditions)
}

func (c *KindController[T, S]) run(o T) *Run[T, S] {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.states == nil {
		c.states = map[types.NamespacedName]*kindState[S]{}
	}
	key := client.ObjectKeyFromObject(o)
	s := c.states[key]
	if s == nil || s.uid != o.GetUID() {
		s = &kindState[S]{uid: o.GetUID()}
		c.states[key] = s
	}
	return &Run[T, S]{
		Object: o, State: &s.own,
		read: Secrets{Metadata: c.Metadata, Reader: c.Secrets, Namespace: key.Namespace, Cache: &s.secrets},
	}
}

func (c *KindController[T, S]) apply(ctx context.Context, o T) error {
	snapshot, err := c.within(ctx, o, c.Kind.Fetch)
	if err != nil {
		return err
	}
	c.put(o, snapshot)
	f := c.Kind.Fields(o)
	*f.Artifact = describe(c.Kind.Name, client.ObjectKeyFromObject(o), snapshot, []*meta.Artifact{*f.Artifact})
	if c.Kind.Metadata != nil {
		(*f.Artifact).Metadata = c.Kind.Metadata(c.run(o).State)
	}
	return nil
}

// within runs a fetch within the timeout of the spec.
func (c *KindController[T, S]) within(ctx context.Context, o T, fetch func(context.Context, *Run[T, S]) (Snapshot, error)) (Snapshot, error) {
	limit := defaultTimeout
	if t := c.Kind.Fields(o).Timeout; t != nil && t.Duration > 0 {
		limit = t.Duration
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	snapshot, err := fetch(ctx, c.run(o))
	if err == nil {
		return snapshot, nil
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return snapshot, reconciler.Temporary(c.Kind.Reason, fmt.Errorf("no answer within %s: see that the server is well, or raise spec.timeout", limit))
	}
	if errors.Is(err, ErrTooLarge) {
		return snapshot, reconciler.Wait(reasonTooLarge, c.Kind.Fields(o).Interval, err)
	}
	return snapshot, err
}

// restore has again what a suspended source held before a restart.
func (c *KindController[T, S]) restore(ctx context.Context, o T) error {
	f := c.Kind.Fields(o)
	if *f.Artifact == nil {
		return nil // it never had anything
	}
	if _, ok := c.Store.Get(c.Kind.Name, o.GetNamespace(), o.GetName()); ok {
		return nil
	}
	snapshot, err := c.within(ctx, o, c.Kind.Restore)
	if err != nil {
		return err
	}
	if snapshot.Revision != (*f.Artifact).Revision {
		return fmt.Errorf("the source holds %s now, and %s when it was suspended: resume it", snapshot.Revision, (*f.Artifact).Revision)
	}
	c.put(o, snapshot)
	return nil
}

func (c *KindController[T, S]) put(o T, s Snapshot) {
	if was, ok := c.Store.Get(c.Kind.Name, o.GetNamespace(), o.GetName()); !ok || was != s {
		c.Store.Put(c.Kind.Name, o.GetNamespace(), o.GetName(), s)
	}
}

func (c *KindController[T, S]) gone(key types.NamespacedName) {
	c.mu.Lock()
	delete(c.states, key)
	c.mu.Unlock()
	c.Store.Delete(c.Kind.Name, key.Namespace, key.Name)
}

// SetupWithManager registers c with mgr.
func (c *KindController[T, S]) SetupWithManager(mgr ctrl.Manager) error {
	err := mgr.GetFieldIndexer().IndexField(context.Background(), c.Kind.New(), bySecret, //nolint:forbidigo // set-up, before there is a context
		func(o client.Object) []string { return c.Kind.Secrets(o.(T)) })
	if err != nil {
		return fmt.Errorf("index %s: %w", bySecret, err)
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named(strings.ToLower(c.Kind.Name)).
		WithOptions(reconciler.Options(workers(c.Workers))).
		For(c.Kind.New(), builder.WithPredicates(reconciler.Changed())).
		WatchesMetadata(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(c.usersOfSecret)).
		Complete(c.loop())
}

// usersOfSecret wakes the sources whose credentials have changed.
func (c *KindController[T, S]) usersOfSecret(ctx context.Context, o client.Object) []reconcile.Request {
	list := c.Kind.List()
	if err := c.Client.List(ctx, list, client.InNamespace(o.GetNamespace()), client.MatchingFields{bySecret: o.GetName()}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list sources", "kind", c.Kind.Name, "secret", o.GetName())
		return nil
	}
	var requests []reconcile.Request
	_ = apimeta.EachListItem(list, func(item runtime.Object) error { // fails only if the func does
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(item.(client.Object))})
		return nil
	})
	return requests
}
