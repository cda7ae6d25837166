package queue

import (
	"cmp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
)

// early is the part of its interval by which an object may be read too soon to
// fill a batch.
const early = 0.1

// place is a read in a line.
type place struct {
	line string
	read fetch.Read
}

// An expectation is when an object will want its reads again.
type expectation struct {
	places []place
	due    time.Time // zero: not known
	every  time.Duration
}

// expectations are those of all objects, by object and by place.
type expectations struct {
	objects map[types.NamespacedName]*expectation
	places  map[place]map[types.NamespacedName]bool
	lines   map[string]map[types.NamespacedName]bool
}

// Expect says that an object will ask for its reads again, so that others that
// ask a little sooner take it along: the same secret is read once for all, and
// batches are full. It is about the reads of its last Submit.
func (q *Queue) Expect(object types.NamespacedName, due time.Time, every time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e := q.expected.objects[object]; e != nil {
		e.due, e.every = due, every
	}
}

// Forget takes back what is known of an object.
func (q *Queue) Forget(object types.NamespacedName) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.expected.remove(object)
}

// known remembers where an object reads.
func (q *Queue) known(object types.NamespacedName, places []place) {
	q.mu.Lock()
	defer q.mu.Unlock()
	x := &q.expected
	if e := x.objects[object]; e != nil && slices.Equal(e.places, places) {
		e.due = time.Time{}
		return
	}
	x.remove(object)
	if x.objects == nil {
		x.objects, x.places, x.lines = map[types.NamespacedName]*expectation{}, map[place]map[types.NamespacedName]bool{}, map[string]map[types.NamespacedName]bool{}
	}
	x.objects[object] = &expectation{places: places}
	for _, p := range places {
		put(x.places, p, object)
		put(x.lines, p.line, object)
	}
}

func (x *expectations) remove(object types.NamespacedName) {
	e := x.objects[object]
	if e == nil {
		return
	}
	delete(x.objects, object)
	for _, p := range e.places {
		take(x.places, p, object)
		take(x.lines, p.line, object)
	}
}

func put[K comparable](m map[K]map[types.NamespacedName]bool, key K, object types.NamespacedName) {
	if m[key] == nil {
		m[key] = map[types.NamespacedName]bool{}
	}
	m[key][object] = true
}

func take[K comparable](m map[K]map[types.NamespacedName]bool, key K, object types.NamespacedName) {
	if delete(m[key], object); len(m[key]) == 0 {
		delete(m, key)
	}
}

// gather returns the objects that may as well be read now: those that want the
// same, and where there are batches, those that come next.
func (q *Queue) gather(from place, asker types.NamespacedName, batches bool) []types.NamespacedName {
	if q.Wake == nil {
		return nil
	}
	now := time.Now() //nolint:forbidigo // a line has the process's clock; tests have that of synctest
	q.mu.Lock()
	defer q.mu.Unlock()
	// Whoever wants the same before the asker does again would cost a read that
	// this one saves.
	var horizon time.Duration
	if e := q.expected.objects[asker]; e != nil {
		horizon = e.every
	}
	var all []types.NamespacedName
	for object := range q.expected.places[from] {
		if e := q.expected.objects[object]; e.may(now) || !e.due.IsZero() && e.due.Sub(now) <= horizon+horizon/10 {
			all = append(all, object)
		}
	}
	if batches && len(all) < batchSize-1 {
		all = append(all, q.next(from, batchSize-1-len(all), now)...)
	}
	for _, object := range all {
		q.expected.objects[object].due = time.Time{} // once is enough
	}
	return all
}

// next returns up to n objects of a line that come next, but for those that
// want the same as from.
func (q *Queue) next(from place, n int, now time.Time) []types.NamespacedName {
	var all []types.NamespacedName
	for object := range q.expected.lines[from.line] {
		if q.expected.objects[object].may(now) && !q.expected.places[from][object] {
			all = append(all, object)
		}
	}
	slices.SortFunc(all, func(a, b types.NamespacedName) int {
		return cmp.Or(q.expected.objects[a].due.Compare(q.expected.objects[b].due), cmp.Compare(a.String(), b.String()))
	})
	return all[:min(n, len(all))]
}

func (e *expectation) may(now time.Time) bool {
	return !e.due.IsZero() && e.due.Sub(now) <= time.Duration(early*float64(e.every))
}
