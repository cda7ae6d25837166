package source

import (
	"context"
	"slices"
	"sync"

	"k8s.io/client-go/util/workqueue"
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
}

// Store keeps the newest snapshot of each source, for those who apply it. It
// is safe for use by many goroutines.
type Store struct {
	mu        sync.Mutex
	snapshots map[key]Snapshot
	watchers  []watcher
}

type key struct{ kind, namespace, name string }

// watcher is a controller that wants to know of new snapshots.
type watcher struct {
	ctx   context.Context //nolint:containedctx // the controller's, for as long as it runs
	users func(ctx context.Context, kind, namespace, name string) []reconcile.Request
	queue workqueue.TypedRateLimitingInterface[reconcile.Request]
}

// NewStore returns an empty store.
func NewStore() *Store { return &Store{snapshots: map[key]Snapshot{}} }

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
	s.snapshots[key{kind, namespace, name}] = snapshot
	watchers := s.watchers
	s.mu.Unlock()
	for _, w := range watchers {
		for _, r := range w.users(w.ctx, kind, namespace, name) {
			w.queue.Add(r)
		}
	}
}

// Delete forgets a source. Nobody is woken: what was applied from it stays.
func (s *Store) Delete(kind, namespace, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.snapshots, key{kind, namespace, name})
}

// Watch returns a source of events for a controller: users says which of its
// objects use a source that has a new snapshot.
func (s *Store) Watch(users func(ctx context.Context, kind, namespace, name string) []reconcile.Request) ctrlsource.Source {
	return ctrlsource.Func(func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.watchers = append(slices.Clip(s.watchers), watcher{ctx, users, queue})
		return nil
	})
}
