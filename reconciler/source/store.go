package source

import (
	"context"
	"slices"
	"sync"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	ctrlsource "sigs.k8s.io/controller-runtime/pkg/source"
)

// Snapshot is what a source holds at a revision.
type Snapshot struct {
	Revision string // as Flux spells it: main@sha1:0123...
	Tree     *Tree
	// Origin is the revision of the source that an artifact was made from, where
	// it says so: org.opencontainers.image.revision.
	Origin string
	// Digest is that of the archive which the tree was made of, for one that
	// someone else has published.
	Digest string
}

// Store keeps the newest snapshot of each source, for those who apply it. It
// is safe for use by many goroutines.
type Store struct {
	mu        sync.Mutex
	snapshots map[key]Snapshot
	failures  map[key]string
	watchers  []watcher
}

type key struct{ kind, namespace, name string }

// watcher is a controller that wants to know of new snapshots.
type watcher struct {
	ctx   context.Context //nolint:containedctx // the controller's, for as long as it runs
	users Users
	queue workqueue.TypedRateLimitingInterface[reconcile.Request]
}

// Users says which objects use a source that has a new snapshot, and which of
// them can come later: those that, as far as it knows, have nothing to do but
// to tell the revision.
type Users func(ctx context.Context, kind, namespace, name string) (now, later []reconcile.Request)

// NewStore returns an empty store.
func NewStore() *Store { return &Store{snapshots: map[key]Snapshot{}, failures: map[key]string{}} }

// Get returns the newest snapshot of a source, if it has had one.
func (s *Store) Get(kind, namespace, name string) (Snapshot, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	snapshot, ok := s.snapshots[key{kind, namespace, name}]
	return snapshot, ok
}

// Put replaces the snapshot of a source and wakes those who use it.
func (s *Store) Put(kind, namespace, name string, snapshot Snapshot) {
	s.mu.Lock()
	k := key{kind, namespace, name}
	s.snapshots[k] = snapshot
	delete(s.failures, k)
	s.mu.Unlock()
	s.wake(k)
}

func (s *Store) wake(k key) {
	s.mu.Lock()
	watchers := s.watchers
	s.mu.Unlock()
	for _, w := range watchers {
		now, later := w.users(w.ctx, k.kind, k.namespace, k.name)
		for _, r := range now {
			w.queue.Add(r)
		}
		add := w.queue.Add
		if q, ok := w.queue.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
			add = func(r reconcile.Request) {
				q.AddWithOpts(priorityqueue.AddOpts{Priority: new(handler.LowPriority)}, r)
			}
		}
		for _, r := range later {
			add(r)
		}
	}
}

// Delete forgets a source. Nobody is woken: what was applied from it stays.
func (s *Store) Delete(kind, namespace, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.snapshots, key{kind, namespace, name})
	delete(s.failures, key{kind, namespace, name})
}

// Fail says why a source has nothing, where its own status cannot. Those who
// wait for it are woken to tell it.
func (s *Store) Fail(kind, namespace, name string, err error) {
	k := key{kind, namespace, name}
	s.mu.Lock()
	news := s.failures[k] != err.Error()
	s.failures[k] = err.Error()
	s.mu.Unlock()
	if news {
		s.wake(k)
	}
}

// Why says why a source has nothing, or where to see it.
func (s *Store) Why(kind, namespace, name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if why := s.failures[key{kind, namespace, name}]; why != "" {
		return why
	}
	return "see that it exists and is Ready"
}

// Watch returns a source of events for a controller: it is asked for the users
// of each source that has a new snapshot, and works on them.
func (s *Store) Watch(users Users) ctrlsource.Source {
	return ctrlsource.Func(func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.watchers = append(slices.Clip(s.watchers), watcher{ctx, users, queue})
		return nil
	})
}
