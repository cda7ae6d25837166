package queue

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/providers"
)

// companion is an object that is read for although it has not asked yet.
type companion struct {
	object types.NamespacedName
	places []place
}

// takeAlong adds to calls that are about to be sent what other objects will
// want soon: those that want the same, and where there are batches, those that
// come next. They need not come in time for it: the answer waits for them.
func (l *line) takeAlong(calls []*call) []*call {
	room, horizons := l.room(calls)
	return l.along(calls, horizons, limits{room, early, func(*expected) bool { return true }})
}

// along adds reads to calls within limits, and notes who else wants what is
// read anyway.
func (l *line) along(calls []*call, horizons []time.Duration, limits limits) []*call {
	room := limits.room
	for _, c := range l.queue.companions(l.name, calls, horizons, limits) {
		for _, p := range c.places {
			to := l
			if p.line != l.name {
				to = l.queue.existing(p.line)
			}
			if to == nil {
				continue // it asks for itself when it comes
			}
			extra := to.want(p.read, c.object, to == l && room > 0)
			if extra != nil {
				room--
				calls = append(calls, extra)
			}
		}
	}
	return calls
}

// room is how many more reads fit into a request, if nobody waits for it, and
// for each call how soon it will be asked for again; 0 if that is not known.
func (l *line) room(calls []*call) (room int, horizons []time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	room = max(l.batch-len(calls), 0)
	for _, c := range calls {
		var longest time.Duration
		for _, j := range c.jobs {
			longest = max(longest, j.every)
		}
		horizons = append(horizons, longest)
		if c.lane != Periodic || !c.read.Plain() {
			room = 0
		}
	}
	return room, horizons
}

// want notes that an object will come for a read. With sent it returns the
// call if it is new, to be sent at once; otherwise, it gets in line.
func (l *line) want(read fetch.Read, object types.NamespacedName, sent bool) *call {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.breaker.err != nil {
		return nil
	}
	c := l.calls[read]
	if c == nil {
		c = &call{read: read, lane: Periodic, urgent: lanes}
		if sent = sent && read.Plain(); sent {
			l.calls[read] = c.send()
		} else {
			l.enqueue(c)
			l.openWindow(Periodic)
		}
	} else {
		sent = false
	}
	if c.wanted == nil {
		c.wanted = map[types.NamespacedName]bool{}
	}
	c.wanted[object] = true
	if sent {
		return c
	}
	return nil
}

// wantToo notes that objects will come for a call that was just answered.
func (l *line) wantToo(c *call, objects []types.NamespacedName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, object := range objects {
		if c.wanted == nil {
			c.wanted = map[types.NamespacedName]bool{}
		}
		c.wanted[object] = true
	}
}

// existing returns a line unless it was never used or is forgotten.
func (q *Queue) existing(name string) *line {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lines[name]
}

// limits are how many more reads are made, by what part of an interval too
// soon, and for whom.
type limits struct {
	room  int
	early float64
	pick  func(*expected) bool
}

// companions returns whom calls of a line may as well be made for, and for whom
// within limits more reads.
func (q *Queue) companions(line string, calls []*call, horizons []time.Duration, limits limits) []companion {
	if q.Wake == nil {
		return nil
	}
	now := time.Now() //nolint:forbidigo // a line has the process's clock; tests have that of synctest
	q.mu.Lock()
	defer q.mu.Unlock()
	x := &q.expected
	var all []types.NamespacedName
	for i, c := range calls {
		if horizons[i] > 0 {
			all = append(all, x.same(place{line, c.read}, horizons[i], now)...)
		}
	}
	if limits.room > 0 {
		all = append(all, x.next(line, calls, limits, now)...)
	}
	var found []companion
	for _, object := range all {
		if e := x.objects[object]; !e.busy {
			e.busy = true
			found = append(found, companion{object, e.places})
		}
	}
	return found
}

// failing returns the objects that have failed to get what is at a place.
func (q *Queue) failing(p place) (all []types.NamespacedName) {
	if q.Wake == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for object := range q.expected.places[p].all {
		if e := q.expected.objects[object]; e.Failed && !e.busy {
			e.busy = true
			all = append(all, object)
		}
	}
	return all
}

// missing returns the objects that miss a secret of a line, and what each
// reads there. Those that read elsewhere, too, are not among them: what they
// miss may be there.
func (q *Queue) missing(line string) map[types.NamespacedName][]providers.Ref {
	if q.Wake == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	all := map[types.NamespacedName][]providers.Ref{}
	for object := range q.expected.lines[line] {
		e := q.expected.objects[object]
		if !e.Missing || e.busy || slices.ContainsFunc(e.places, func(p place) bool { return p.line != line || !p.read.Plain() }) {
			continue
		}
		for _, p := range e.places {
			all[object] = append(all[object], p.read.Ref)
		}
	}
	return all
}

// appeared wakes the objects of which versions has all that they read: what
// they missed is there.
func (q *Queue) appeared(missing map[types.NamespacedName][]providers.Ref, versions map[providers.Ref]string) {
	for object, refs := range missing {
		if slices.ContainsFunc(refs, func(ref providers.Ref) bool { return versions[ref] == "" }) {
			continue
		}
		q.mu.Lock()
		e := q.expected.objects[object]
		wake := e != nil && e.Missing && !e.busy
		if wake {
			e.busy = true
		}
		q.mu.Unlock()
		if wake {
			q.Wake(object, Periodic)
		}
	}
}

// release lets objects be taken along again that came to nothing.
func (q *Queue) release(objects map[types.NamespacedName]bool) {
	if len(objects) == 0 {
		return
	}
	go func() { // the caller holds the lock of a line, which comes after this one
		q.mu.Lock()
		defer q.mu.Unlock()
		for object := range objects {
			if e := q.expected.objects[object]; e != nil && !e.Due.IsZero() {
				e.busy = false
			}
		}
	}()
}
