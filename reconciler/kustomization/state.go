package kustomization

import (
	"sync"
	"time"

	"github.com/fluxcd/cli-utils/pkg/object"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/reconciler/plan"
	"github.com/lockstep-dev/lockstep/reconciler/render"
)

// state is what this process remembers of one Kustomization. All of it can be
// found out again: after a restart everything is rendered and applied once
// more, which changes nothing.
type state struct {
	uid      types.UID
	rendered rendered
	applied  map[object.ObjMetadata]applied
	health   healthState
}

// rendered is the last render, and what it was made from.
type rendered struct {
	inputs  string // spec and versions of what it substitutes from
	reads   render.Reads
	objects []plan.Object
	secrets []string // values that came from Secrets; never to be shown
}

// applied is what an object was when it was last applied.
type applied struct {
	hash  string
	uid   types.UID
	owned string
}

// healthState remembers how the health of the objects went.
type healthState struct {
	of      string    // revision and generation that it is about
	since   time.Time // when the wait for it, or the ailment, began; zero if all is well
	reached bool      // all was well once
}

// left returns the time that remains of the timeout; 0 if nothing is awaited.
func (h healthState) left(timeout time.Duration) time.Duration {
	if h.since.IsZero() {
		return 0
	}
	return max(time.Until(h.since.Add(timeout)), time.Second)
}

// states holds one state per Kustomization. The zero value is ready to use.
type states struct {
	mu sync.Mutex
	m  map[types.NamespacedName]*state
}

// of returns the state of ks. The controller works on one object at a time
// per key, so only the map needs the lock.
func (s *states) of(ks *kustomizev1.Kustomization) *state {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := client.ObjectKeyFromObject(ks)
	if s.m == nil {
		s.m = map[types.NamespacedName]*state{}
	}
	if s.m[key] == nil || s.m[key].uid != ks.UID {
		s.m[key] = &state{uid: ks.UID, applied: map[object.ObjMetadata]applied{}}
	}
	return s.m[key]
}

func (s *states) forget(key types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.m, key)
}
