package kustomization

import (
	"io/fs"
	"sync"
	"sync/atomic"
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
	reads    atomic.Pointer[render.Reads] // of the last render; others than the run may look at it
	applied  map[object.ObjMetadata]applied
	hung     map[object.ObjMetadata]bool // had no answer when they were applied last
	health   healthState
	compiled compiled
	cluster  string // that was connected to; empty is the controller's own
	attempt  attempt
	asked    string // the last request for a run
	kept     string // what was said of a source that has nothing
	blind    bool   // not all that is applied, or waited for, is watched
}

// attempt is the work on one revision and spec, in as many runs as it takes.
type attempt struct {
	of       string // revision and generation
	began    time.Time
	failures int       // runs that failed since anything changed
	waiting  time.Time // since when something in the way is awaited; zero if nothing is
	changed  bool      // objects were applied or deleted
}

// rendered is the last render, and what it was made from.
type rendered struct {
	inputs  string // spec and versions of what it substitutes from
	digest  string // of what it was made from
	objects []plan.Object
	secrets []string // values that came from Secrets; never to be shown
}

// applied is what an object was when it was last applied.
type applied struct {
	hash    string
	uid     types.UID
	owned   string
	skipped bool // it asked to be left as it is
	seen    bool // the watch has seen it
	fight   fight
}

// fight counts how often an object was put right.
type fight struct {
	times int
	last  time.Time
	until time.Time // it is left in peace until then
}

// An object that is put right so many times, each within so long after the one
// before, is fought over: it is left in peace for a while, each time longer.
const (
	fightTimes = 5
	fightGap   = 30 * time.Second
	firstTruce = time.Minute
	lastTruce  = 30 * time.Minute
)

// again counts a correction at now, and reports whether a truce begins with it.
func (f *fight) again(now time.Time) bool {
	if now.Sub(f.last) > fightGap && now.Sub(f.until) > fightGap {
		f.times = 0
	}
	f.times++
	f.last = now
	if f.times < fightTimes {
		return false
	}
	f.until = now.Add(min(firstTruce<<min(f.times-fightTimes, 8), lastTruce))
	return true
}

// truce returns how long it is until the first object that is left in peace
// is looked at again; 0 if there is none.
func (s *state) truce(now time.Time) (left time.Duration) {
	for _, a := range s.applied {
		if l := a.fight.until.Sub(now); l > 0 && (left == 0 || l < left) {
			left = l
		}
	}
	return left
}

// healthState remembers how the health of the objects went.
type healthState struct {
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
		s.m[key] = &state{uid: ks.UID, applied: map[object.ObjMetadata]applied{}, hung: map[object.ObjMetadata]bool{}}
	}
	return s.m[key]
}

// same reports whether the last render of a Kustomization would read the same
// from tree. It does not look at what else a render depends on.
func (s *states) same(key types.NamespacedName, tree fs.FS) bool {
	s.mu.Lock()
	st := s.m[key]
	s.mu.Unlock()
	return st != nil && st.same(tree)
}

func (s *state) same(tree fs.FS) bool {
	reads := s.reads.Load()
	return reads != nil && reads.Same(tree)
}

// forget drops the state of a Kustomization and returns the cluster that it
// was connected to.
func (s *states) forget(key types.NamespacedName) (cluster string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.m[key]; st != nil {
		cluster = st.cluster
	}
	delete(s.m, key)
	return cluster
}

// uses reports whether any Kustomization is connected to a cluster.
func (s *states) uses(cluster string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.m {
		if st.cluster == cluster {
			return true
		}
	}
	return false
}
