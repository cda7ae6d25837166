package pull

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"context"
	"time"

	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/externalsecrets/queue"
)

// tickets are the reads that ExternalSecrets wait for, and who was asked to
// read a little early. The zero value is ready to use.
type tickets struct {
	mu    sync.Mutex
	m     map[types.NamespacedName]*ticket
	early map[types.NamespacedName]bool
	hints map[types.NamespacedName]hint // objects whose secrets are said to have changed
}

// hint says that secrets of an object have changed.
type hint struct {
	open bool      // the object has not read since
	from time.Time // when it may
}

// hintEvery is how often an object follows hints: however many come, it costs
// its store no more than one read in this time. The first is followed at once.
const hintEvery = time.Second

// ticket is what one object asked for.
type ticket struct {
	version string // of the object and its stores when it asked
	results map[fetch.Read]fetch.Result
}

// has reports whether an object waits for reads, or has them, or should read
// early, or was told to read. That stays so until it can: what it waits for
// may be older than the change.
func (t *tickets) has(object types.NamespacedName, version string) (waits, early, hinted bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	early = t.early[object]
	delete(t.early, object)
	if mine := t.m[object]; mine != nil && mine.version == version {
		return true, early, false
	}
	now := time.Now() //nolint:forbidigo // decides about load only
	if h := t.hints[object]; h.open && !now.Before(h.from) {
		t.hints[object] = hint{from: now.Add(hintEvery)}
		return false, early, true
	}
	return false, early, false
}

// hint tells an object to read.
func (t *tickets) hint(object types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.hints == nil {
		t.hints = map[types.NamespacedName]hint{}
	}
	t.hints[object] = hint{true, t.hints[object].from}
}

// hinted reports whether an object is told to read still, and how soon it may.
func (t *tickets) hinted(object types.NamespacedName) (open bool, after time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.hints[object]
	return h.open, max(time.Until(h.from), 0)
}

// take returns the results that an object waits for, if they are there. If it
// does not wait for any, it does from now on, and fresh is its ticket.
func (t *tickets) take(object types.NamespacedName, version string) (results map[fetch.Read]fetch.Result, fresh *ticket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	mine := t.m[object]
	switch {
	case mine == nil || mine.version != version:
		if t.m == nil {
			t.m = map[types.NamespacedName]*ticket{}
		}
		t.m[object] = &ticket{version: version}
		return nil, t.m[object]
	case mine.results == nil:
		return nil, nil
	default:
		delete(t.m, object)
		return mine.results, nil
	}
}

// put stores results, unless the object has asked anew since.
func (t *tickets) put(object types.NamespacedName, mine *ticket, results map[fetch.Read]fetch.Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.m[object] == mine {
		mine.results = results
	}
}

func (t *tickets) ask(object types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.early == nil {
		t.early = map[types.NamespacedName]bool{}
	}
	t.early[object] = true
}

func (t *tickets) forget(object types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.m, object)
	delete(t.early, object)
	delete(t.hints, object)
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

// priorities of lanes in the work queue. Events have 0, and those of objects
// that a start of the controller finds unchanged have less.
var priorities = map[queue.Lane]int{queue.First: 10, queue.Repair: 5, queue.Periodic: -1}

// set wakes an object after a time.
func (a *alarm) set(object types.NamespacedName, lane queue.Lane, after time.Duration) {
	a.mu.Lock()
	q := a.queue
	a.mu.Unlock()
	req := reconcile.Request{NamespacedName: object}
	switch q := q.(type) {
	case nil: // not started: the first events are still to come
	case priorityqueue.PriorityQueue[reconcile.Request]:
		priority := priorities[lane]
		q.AddWithOpts(priorityqueue.AddOpts{After: after, Priority: &priority}, req)
	default:
		q.AddAfter(req, after)
	}
}
