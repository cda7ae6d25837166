package reconciler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Object is a custom resource with conditions in its status.
type Object interface {
	client.Object
	GetConditions() []metav1.Condition
	SetConditions(conditions []metav1.Condition)
}

// Loop runs Apply for one object at a time. It is a reconcile.Reconciler.
// Client, New and Apply are required.
type Loop[T Object] struct {
	Client   client.Client
	Recorder record.EventRecorder // nil sends no events

	// New returns an empty object to read into.
	New func() T

	// Apply brings the world in line with obj. It may set fields of obj.Status
	// but must not write obj: a write returns the server's copy and would drop
	// them.
	Apply func(ctx context.Context, obj T) error

	// Every is the time until the next run after a success; 0 or a nil func
	// waits for events. The loop spreads it by up to 5 % either way.
	Every func(obj T) time.Duration

	// Suspended objects are left alone, but for their deletion. Nil suspends
	// none.
	Suspended func(obj T) bool

	// Restore, if set, is run for suspended objects, to have again what the
	// process held for them before it was restarted. What it changes in obj is
	// not written. It is tried again if it fails.
	Restore func(ctx context.Context, obj T) error

	// Finalizer is put on objects before their first Apply, and taken off when
	// Finalize succeeds. Where Needs is set, only on those for which it is
	// true, and with Sheds taken off the others: not where someone else may
	// put it on again. With an empty Finalizer, Finalize is never called.
	Finalizer string
	Needs     func(obj T) bool
	Sheds     bool
	Finalize  func(ctx context.Context, obj T) error

	// Gone is told of objects that are no longer there. Nil tells no one.
	Gone func(key types.NamespacedName)

	// Meter is told of each run that came to an end, and of objects that are no
	// longer there. Nil tells no one.
	Meter Meter

	// Success gives reason and message of Ready=True; a nil func says
	// "Succeeded" and nothing.
	Success func(obj T) (reason, message string)

	// Observe may complete the status after the conditions are set: observed
	// generation, conditions of a peer. err is what Apply returned.
	Observe func(obj T, err error)

	// EventReason names the Event for a Ready condition; a nil func takes the
	// condition's reason.
	EventReason func(ready metav1.Condition) string

	written written[T]
}

// jitter is how far a regular interval is spread, either way, so that objects
// made together do not come back together. 5 % is Flux's default.
const jitter = 0.05

// Reconcile implements reconcile.Reconciler.
func (l *Loop[T]) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	obj := l.New()
	if err := l.Client.Get(ctx, req.NamespacedName, obj); err != nil {
		if apierrors.IsNotFound(err) {
			l.gone(req.NamespacedName)
			return reconcile.Result{}, nil
		}
		return reconcile.Result{}, fmt.Errorf("read object: %w", err)
	}
	obj = l.written.latest(req.NamespacedName, obj)
	if !obj.GetDeletionTimestamp().IsZero() {
		return l.finalize(ctx, obj)
	}
	if l.Suspended != nil && l.Suspended(obj) {
		return reconcile.Result{}, l.restore(ctx, obj)
	}
	if err := l.setFinalizer(ctx, obj); err != nil {
		return reconcile.Result{}, err
	}
	return l.apply(ctx, obj)
}

func (l *Loop[T]) apply(ctx context.Context, obj T) (reconcile.Result, error) {
	before := obj.DeepCopyObject().(T)
	begin := time.Now() //nolint:forbidigo // of a metric
	err := l.Apply(ctx, obj)
	if ctx.Err() != nil {
		// The process is stopping: what Apply could not finish is no news.
		return reconcile.Result{}, ctx.Err()
	}
	if errors.Is(err, ErrPending) {
		return reconcile.Result{}, nil
	}
	l.report(obj, err)
	if perr := l.patchStatus(ctx, before, obj); perr != nil {
		// Only perr is wrapped: whatever err says about retries, the status
		// must still be written.
		return reconcile.Result{}, fmt.Errorf("patch status: %w (apply: %v)", perr, err) //nolint:errorlint // see above
	}
	l.event(before, obj)
	if l.Meter != nil {
		key := types.NamespacedName{Namespace: obj.GetNamespace(), Name: obj.GetName()}
		l.Meter.Took(key, time.Since(begin), err)
	}
	return l.next(obj, err)
}

func (l *Loop[T]) restore(ctx context.Context, obj T) error {
	if l.Restore == nil {
		return nil
	}
	if err := l.Restore(ctx, obj); err != nil && !errors.Is(err, ErrPending) {
		return fmt.Errorf("restore what the suspended object held: %w", err)
	}
	return nil
}

func (l *Loop[T]) patchStatus(ctx context.Context, before, after T) error {
	if equality.Semantic.DeepEqual(before, after) {
		return nil
	}
	err := l.Client.Status().Patch(ctx, after, client.MergeFrom(before))
	if apierrors.IsNotFound(err) {
		return nil // deleted meanwhile: nobody left to tell
	}
	if err == nil {
		l.remember(ctx, after)
	}
	return err
}

// next turns the outcome of Apply into controller-runtime's terms.
func (l *Loop[T]) next(obj T, err error) (reconcile.Result, error) {
	var e *Error
	switch {
	case err == nil && l.Every == nil:
		return reconcile.Result{}, nil
	case err == nil:
		// To look again comes after whatever has happened. Without that, one that
		// waits for its interval would keep the rank of the event before it.
		return reconcile.Result{RequeueAfter: spread(l.Every(obj)), Priority: new(handler.LowPriority)}, nil
	case !errors.As(err, &e):
		return reconcile.Result{}, err // unexpected: back off and count it
	case e.Final:
		return reconcile.Result{}, reconcile.TerminalError(err)
	default:
		return reconcile.Result{RequeueAfter: e.After}, nil
	}
}

func spread(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()*2-1)*jitter*float64(d)) //nolint:gosec // G404: spreads load, guards nothing
}

// setFinalizer puts the finalizer on, or takes it off.
func (l *Loop[T]) setFinalizer(ctx context.Context, obj T) error {
	needs := l.Needs == nil || l.Needs(obj)
	if l.Finalizer == "" || needs == controllerutil.ContainsFinalizer(obj, l.Finalizer) || !needs && !l.Sheds {
		return nil
	}
	before := obj.DeepCopyObject().(T)
	if !needs {
		controllerutil.RemoveFinalizer(obj, l.Finalizer)
		return l.patchMeta(ctx, before, obj, "remove finalizer")
	}
	controllerutil.AddFinalizer(obj, l.Finalizer)
	return l.patchMeta(ctx, before, obj, "add finalizer")
}

func (l *Loop[T]) finalize(ctx context.Context, obj T) (reconcile.Result, error) {
	if l.Finalizer == "" || !controllerutil.ContainsFinalizer(obj, l.Finalizer) {
		return reconcile.Result{}, nil
	}
	before := obj.DeepCopyObject().(T)
	if err := l.Finalize(ctx, obj); err != nil {
		l.report(obj, err)
		if perr := l.patchStatus(ctx, before, obj); perr != nil {
			return reconcile.Result{}, fmt.Errorf("patch status: %w (finalize: %v)", perr, err) //nolint:errorlint // as in apply
		}
		l.event(before, obj)
		return l.next(obj, err)
	}
	before = obj.DeepCopyObject().(T)
	controllerutil.RemoveFinalizer(obj, l.Finalizer)
	return reconcile.Result{}, client.IgnoreNotFound(l.patchMeta(ctx, before, obj, "remove finalizer"))
}

// patchMeta writes metadata with a guard against a concurrent writer of the
// finalizer list, which a merge patch replaces as a whole.
func (l *Loop[T]) patchMeta(ctx context.Context, before, after T, what string) error {
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := l.Client.Patch(ctx, after, patch); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	l.remember(ctx, after)
	return nil
}

func (l *Loop[T]) gone(key types.NamespacedName) {
	l.written.forget(key)
	if l.Meter != nil {
		l.Meter.Forget(key)
	}
	if l.Gone != nil {
		l.Gone(key)
	}
}

// remember keeps what was written until the cache shows it. Now and then it
// looks which of all copies the cache shows by now: no event needs to come for
// an object that no one else changes.
func (l *Loop[T]) remember(ctx context.Context, obj T) {
	keys := l.written.remember(obj)
	if keys == nil {
		return
	}
	for _, key := range keys {
		cached := l.New()
		if err := l.Client.Get(ctx, key, cached); err == nil {
			l.written.latest(key, cached)
		} else if apierrors.IsNotFound(err) {
			l.written.forget(key)
		}
	}
	l.written.looked()
}

// written remembers the newest copy of objects that this process wrote, until
// the cache has caught up: without it a run that follows a write at once would
// decide on yesterday's status and tell the same event twice.
type written[T Object] struct {
	mu    sync.Mutex
	objs  map[types.NamespacedName]T
	limit int // of objs: above it, it is time to look which of them the cache shows
}

// fewCopies are kept without looking at the cache.
const fewCopies = 64

// remember returns the objects to look for in the cache, if it is time to.
func (w *written[T]) remember(obj T) []types.NamespacedName {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.objs == nil {
		w.objs, w.limit = map[types.NamespacedName]T{}, fewCopies
	}
	own := obj.DeepCopyObject().(T)
	own.SetManagedFields(nil)
	w.objs[types.NamespacedName{Namespace: obj.GetNamespace(), Name: obj.GetName()}] = own
	if len(w.objs) <= w.limit {
		return nil
	}
	w.limit = math.MaxInt // one looks at a time
	return slices.Collect(maps.Keys(w.objs))
}

// looked sets the next limit, so that there is at most one look per write.
func (w *written[T]) looked() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.limit = max(fewCopies, 2*len(w.objs))
}

func (w *written[T]) forget(key types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.objs, key)
}

// latest returns the newer of cached and the copy last written.
func (w *written[T]) latest(key types.NamespacedName, cached T) T {
	w.mu.Lock()
	defer w.mu.Unlock()
	own, ok := w.objs[key]
	if !ok {
		return cached
	}
	order, err := resourceversion.CompareResourceVersion(own.GetResourceVersion(), cached.GetResourceVersion())
	if err != nil || order <= 0 || own.GetUID() != cached.GetUID() {
		delete(w.objs, key)
		return cached
	}
	return own.DeepCopyObject().(T)
}
