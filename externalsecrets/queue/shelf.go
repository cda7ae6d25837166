package queue

import (
	"errors"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/providers"
)

const (
	// freshPart is the part of an interval that an answer may be old for a
	// periodic read, and freshAtMost how old at most. The next read counts from
	// when the answer was asked for, so no value gets older than its interval.
	freshPart   = 20
	freshAtMost = 30 * time.Second

	// kept is how long an answer is kept for the objects that it was read for
	// as well. They come as soon as a worker is free; who does not by then reads
	// for itself when it is due.
	kept = time.Minute

	// shelfBytes is how much one line keeps: some thousand values of usual size.
	shelfBytes = 8 << 20
)

// shelf holds answers for those who come for them a little later. The lock of
// its line guards it.
type shelf struct {
	answers map[fetch.Read]*answer
	bytes   int
}

// answer is a result that is kept for a while.
type answer struct {
	result fetch.Result
	wanted map[types.NamespacedName]bool
	timer  *time.Timer
}

// take returns the answer for a job, if there is one that it may have.
func (s *shelf) take(read fetch.Read, j *job) (fetch.Result, bool) {
	a := s.answers[read]
	if a == nil {
		return fetch.Result{}, false
	}
	wanted := a.wanted[j.object]
	delete(a.wanted, j.object)
	if j.fresh == 0 || !wanted && time.Since(a.result.At) > j.fresh || a.result.Unchanged && j.have[read] != a.result.Version {
		return fetch.Result{}, false
	}
	result := copied(a.result)
	if len(a.wanted) == 0 && time.Since(a.result.At) > freshAtMost {
		s.drop(read, a)
	}
	return result, true
}

// drop wipes an answer.
func (s *shelf) drop(read fetch.Read, a *answer) {
	if a == nil || s.answers[read] != a {
		return
	}
	delete(s.answers, read)
	s.bytes -= size(a.result)
	a.timer.Stop()
	wipe(a.result)
}

// shelve keeps the answer of a call for those who want it and have not come
// yet.
func (l *line) shelve(c *call, result fetch.Result) {
	l.shelf.drop(c.read, l.shelf.answers[c.read])
	var fresh time.Duration
	for _, j := range c.jobs {
		delete(c.wanted, j.object)
		fresh = max(fresh, j.fresh)
	}
	lasts := fresh - time.Since(c.sent)
	if len(c.wanted) > 0 {
		lasts = kept
	}
	n := size(result)
	if lasts <= 0 || down(result.Err) || errors.Is(result.Err, providers.ErrThrottled) || l.shelf.bytes+n > shelfBytes {
		l.queue.release(c.wanted)
		return
	}
	if l.shelf.answers == nil {
		l.shelf.answers = map[fetch.Read]*answer{}
	}
	a, read := &answer{result: copied(result), wanted: c.wanted}, c.read // not c, whose jobs hold far more
	a.timer = time.AfterFunc(lasts, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.shelf.drop(read, a)
	})
	l.shelf.answers[c.read], l.shelf.bytes = a, l.shelf.bytes+n
}

// tell wakes those for whom the answers of calls are kept.
func (l *line) tell(calls []*call) {
	var all []types.NamespacedName
	l.mu.Lock()
	for _, c := range calls {
		if a := l.shelf.answers[c.read]; a != nil {
			all = slices.AppendSeq(all, maps.Keys(a.wanted))
		}
	}
	l.mu.Unlock()
	for _, object := range all {
		l.queue.Wake(object, Periodic)
	}
}

func size(r fetch.Result) int {
	n := len(r.Value.Bytes())
	for _, value := range r.Values {
		n += len(value.Bytes())
	}
	return n
}

func wipe(r fetch.Result) {
	clear(r.Value.Bytes())
	for _, value := range r.Values {
		clear(value.Bytes())
	}
}
