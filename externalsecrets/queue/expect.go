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

// listEarly is the same for a list of versions. It has the answers of all
// anyway, and whoever takes his needs no list of his own soon after.
const listEarly = 0.25

// place is a read in a line.
type place struct {
	line string
	read fetch.Read
}

// An Expectation is when an object will want its reads again. The zero value
// says that it will not.
type Expectation struct {
	Due   time.Time
	Every time.Duration // how long from the last read to Due, about
	From  time.Time     // not to be read before; zero is any time
	// Failed says that the last read gave nothing: if another object gets an
	// answer for the same, this one is woken for it at once.
	Failed bool
	// Missing says that it failed for want of a secret: it is woken, too, if a
	// list of versions has all that it reads.
	Missing bool
	// Versions are those that the object has, of all Reads of its last Submit in
	// their order; nil if it does not know them all. They must not change.
	Versions []string
}

// expected is an object that reads.
type expected struct {
	Expectation
	places []place
	busy   bool      // it has asked, or was told to
	since  time.Time // when it was to have been read; zero if never
}

// expectations are those of all objects, by object and by place.
type expectations struct {
	objects map[types.NamespacedName]*expected
	places  map[place]holders
	lines   map[string]map[types.NamespacedName]bool
}

// Expect says when an object will ask for its reads again, so that others that
// ask a little sooner take it along: the same secret is read once for all, and
// batches are full. It is about the reads of its last Submit.
func (q *Queue) Expect(object types.NamespacedName, e Expectation) {
	q.mu.Lock()
	defer q.mu.Unlock()
	known := q.expected.objects[object]
	if known == nil {
		return
	}
	known.Expectation, known.busy = e, false
	if !e.Failed {
		known.since = e.Due
	}
}

// Forget takes back what is known of an object.
func (q *Queue) Forget(object types.NamespacedName) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.expected.remove(object)
}

// Overdue is by how much the most overdue read of all is: of one that is on
// its way, waits in line, or fails. It is 0 if none is.
func (q *Queue) Overdue(now time.Time) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	var most time.Duration
	for _, e := range q.expected.objects {
		if !e.since.IsZero() {
			most = max(most, now.Sub(e.since))
		}
	}
	return most
}

// asks remembers where an object reads, and that it does now.
func (q *Queue) asks(object types.NamespacedName, places []place) {
	q.mu.Lock()
	defer q.mu.Unlock()
	x := &q.expected
	if e := x.objects[object]; e != nil && slices.Equal(e.places, places) {
		e.busy = true
		return
	}
	since := time.Now() //nolint:forbidigo // a line has the process's clock; tests have that of synctest
	if e := x.objects[object]; e != nil && !e.since.IsZero() && e.since.Before(since) {
		since = e.since
	}
	x.remove(object)
	if x.objects == nil {
		x.objects, x.places, x.lines = map[types.NamespacedName]*expected{}, map[place]holders{}, map[string]map[types.NamespacedName]bool{}
	}
	x.objects[object] = &expected{places: places, busy: true, since: since}
	for _, p := range places {
		x.places[p] = x.places[p].with(object)
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
		if rest := x.places[p].without(object); rest.empty() {
			delete(x.places, p)
		} else {
			x.places[p] = rest
		}
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

// outdated reports whether an object has another version of what is at a
// place, or none.
func (e *expected) outdated(p place, version string) bool {
	i := slices.Index(e.places, p)
	return i < 0 || len(e.Versions) != len(e.places) || e.Versions[i] != version
}

// within reports whether an object may be read now that is due within d.
func (e *expected) within(d time.Duration, now time.Time) bool {
	return !e.busy && !e.Due.IsZero() && e.Due.Sub(now) <= d && !now.Before(e.From)
}

// soon reports whether an object is due within a part of its interval.
func (e *expected) soon(part float64, now time.Time) bool {
	return e.within(time.Duration(part*float64(e.Every)), now)
}

// same returns the objects that want the same as a call before it is asked for
// again: each would cost a read that this one saves.
func (x *expectations) same(p place, every time.Duration, now time.Time) (all []types.NamespacedName) {
	for object := range x.places[p].all {
		if e := x.objects[object]; e.soon(early, now) || e.within(every+every/10, now) {
			all = append(all, object)
		}
	}
	return all
}

// next returns objects of a line that come next, whose reads are within limits,
// besides those that are sent already.
func (x *expectations) next(line string, sent []*call, limits limits, now time.Time) []types.NamespacedName {
	var candidates, all []types.NamespacedName
	for object := range x.lines[line] {
		if e := x.objects[object]; e.soon(limits.early, now) && limits.pick(e) {
			candidates = append(candidates, object)
		}
	}
	slices.SortFunc(candidates, func(a, b types.NamespacedName) int {
		return cmp.Or(x.objects[a].Due.Compare(x.objects[b].Due), cmp.Compare(a.String(), b.String()))
	})
	reads := map[fetch.Read]bool{}
	for _, c := range sent {
		reads[c.read] = true
	}
	full := len(reads) + limits.room
	for _, object := range candidates {
		if len(reads) >= full {
			break
		}
		for _, p := range x.objects[object].places {
			if p.line == line && p.read.Plain() {
				reads[p.read] = true
			}
		}
		all = append(all, object)
	}
	return all
}
