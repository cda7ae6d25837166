package push

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/externalsecrets/queue"
	"github.com/lockstep-dev/lockstep/providers"
)

// target is a store that a PushSecret may write to now.
type target struct {
	run   *run
	store esv1.SecretStoreRef
	turn  *queue.Turn
}

// target returns leave to write to a store. key is one of what is to be written
// there.
func (r *run) target(ctx context.Context, store esv1.SecretStoreRef, key string) (*target, error) {
	turn, err := r.line.Turn(ctx, queue.Writing{Object: client.ObjectKeyFromObject(r.ps), Store: store, Key: key, Wake: r.alarm.wake})
	if errors.Is(err, queue.ErrDown) { // all others name it
		return nil, fmt.Errorf("%s %q: %w", store.Kind, store.Name, err)
	}
	if err != nil {
		return nil, err
	}
	return &target{run: r, store: store, turn: turn}, nil
}

// do writes the secret key, if the object may.
func (t *target) do(ctx context.Context, key string, f func(context.Context, providers.Writer) error) error {
	if err := t.run.Stores.Permits(ctx, t.store, t.run.ps.Namespace, key); err != nil {
		return err
	}
	return t.turn.Do(ctx, func(ctx context.Context, reader providers.Reader) error {
		writer, ok := reader.(providers.Writer)
		if !ok {
			return fmt.Errorf("%w: the provider of %s %q is read only here: use another store", errReadOnly, t.store.Kind, t.store.Name)
		}
		return f(ctx, writer)
	})
}

// job is what is to be in a store.
type job struct {
	store   storeObject
	entries entries
	target  *target // nil: nothing is to be sent
}

// end gives back the turns.
func end(jobs []job) {
	for _, j := range jobs {
		if j.target != nil {
			j.target.turn.End()
		}
	}
}

// jobs takes a turn at each store before the first is written, so that what
// was written is always told. Without all turns there is none: ErrBusy. A store
// that cannot be written is a failure, which keeps no other from being written.
func (r *run) jobs(ctx context.Context, all []storeObject, values map[string][]byte) (jobs []job, failed error) {
	for _, store := range all {
		found, err := entriesFor(&r.ps.Spec, store, values)
		if err != nil {
			end(jobs)
			return nil, err
		}
		j := job{store: store, entries: found}
		if key := r.someKey(store.ref, found); key != "" {
			j.target, err = r.target(ctx, store.ref, key)
		}
		switch {
		case errors.Is(err, queue.ErrBusy):
			end(jobs)
			return nil, err
		case err != nil:
			failed = both(failed, fmt.Errorf("%s: %w", store.field, err))
		default:
			jobs = append(jobs, j)
		}
	}
	return jobs, failed
}

// someKey is one of the secrets that are to be written or deleted; "" if
// there is none.
func (r *run) someKey(store esv1.SecretStoreRef, found entries) string {
	for _, at := range slices.Sorted(maps.Keys(found)) {
		return found[at].data.Match.RemoteRef.RemoteKey
	}
	synced := r.synced(store)
	for _, at := range slices.Sorted(maps.Keys(synced)) {
		return synced[at].Match.RemoteRef.RemoteKey
	}
	return ""
}

// both is two errors in one line.
func both(a, b error) error {
	if a == nil {
		return b
	}
	return fmt.Errorf("%w; %w", a, b)
}

// alarm puts objects back into the controller's work queue. It is a source
// without events of its own.
type alarm struct {
	mu    sync.Mutex
	queue workqueue.TypedRateLimitingInterface[reconcile.Request]
}

// Start implements source.Source.
func (a *alarm) Start(_ context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.queue = q
	return nil
}

func (a *alarm) wake(object types.NamespacedName) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.queue != nil { // not started: the first events are still to come
		a.queue.Add(reconcile.Request{NamespacedName: object})
	}
}
