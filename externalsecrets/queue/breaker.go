package queue

import (
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/providers"
)

const (
	// tolerated is how many requests in a row may fail before a store is taken
	// to be down.
	tolerated = 3

	// firstProbe is how soon a store that is down is tried again, and lastProbe
	// how often in the end: twice a minute at most, however many objects wait.
	// In between the time doubles, so that what was short is over soon.
	firstProbe = 2 * time.Second
	lastProbe  = 31 * time.Second
)

// errTimeout is the result of a store that does not answer.
var errTimeout = fmt.Errorf("%w: it did not answer within %s", providers.ErrUnavailable, callTimeout)

// ErrDown says that a store was not asked, because it failed several times in a
// row a moment ago. Its queue tries it for all who need it, and wakes them.
var ErrDown = errors.New("the store is down")

// downError is an ErrDown that reads as what the store failed with, so that
// those who asked and those who did not say the same.
type downError struct{ error }

// Is implements what errors.Is looks for.
func (downError) Is(target error) bool { return target == ErrDown }

// Unwrap implements what errors.Is looks for.
func (d downError) Unwrap() error { return d.error }

// breaker knows whether a store is down.
type breaker struct {
	failures int // in a row
	last     fetch.Read
	err      error // why; nil as long as it works
	probing  bool  // a request finds out whether it is back
	timer    *time.Timer
	after    time.Duration // of timer
}

func (b *breaker) closed() bool { return b.err == nil }

// judge learns from results how the store is.
func (l *line) judge(calls []*call, results []fetch.Result) {
	var throttled providers.Throttled
	for i, r := range results {
		switch {
		case errors.As(r.Err, &throttled), errors.Is(r.Err, providers.ErrThrottled):
			l.pace.slowDown(throttled.After)
			l.answered()
		case down(r.Err):
			for _, c := range calls {
				for _, j := range c.jobs {
					l.stranded[j.object] = true
				}
			}
			l.failed(calls[i].read, r.Err)
			return // one request, one failure
		default:
			l.answered()
		}
	}
	l.pace.speedUp()
}

// down reports whether err says something about the store as a whole, and not
// about a secret in it or how the store is set up.
func down(err error) bool {
	if err == nil {
		return false
	}
	for _, class := range []error{providers.ErrNotFound, providers.ErrDenied, providers.ErrInvalid, providers.ErrThrottled} {
		if errors.Is(err, class) {
			return false
		}
	}
	return errors.Is(err, providers.ErrUnavailable)
}

// answered closes the breaker: the store is there. Who waited for it is told.
func (l *line) answered() {
	if l.breaker.timer != nil {
		l.breaker.timer.Stop()
	}
	if l.breaker.failures > 0 {
		l.wakeWriters(len(l.writers.waiting))
	}
	l.breaker = breaker{}
	if len(l.stranded) == 0 {
		return
	}
	woken := l.stranded
	l.stranded = map[types.NamespacedName]bool{}
	if l.queue.Wake != nil {
		go func() {
			for object := range woken {
				l.queue.Wake(object, Periodic)
			}
		}()
	}
}

// failed counts a failure, and opens the breaker when there were too many.
func (l *line) failed(read fetch.Read, err error) {
	b := &l.breaker
	b.failures++
	if b.failures < tolerated || !b.closed() && !b.probing {
		return // not yet, or one of those that were on their way
	}
	b.probing, b.last, b.err = false, read, downError{err}
	b.after = min(max(2*b.after, firstProbe), lastProbe)
	b.timer = time.AfterFunc(b.after, l.probe)
}

// refuse empties the line of a store that is down. It returns what is to be
// called without the lock.
func (l *line) refuse() (calls []func()) {
	if l.breaker.closed() {
		return nil
	}
	err := l.breaker.err
	for lane := range l.waiting {
		for _, c := range l.waiting[lane] {
			delete(l.calls, c.read)
			for _, j := range c.jobs {
				l.stranded[j.object] = true
				calls = append(calls, func() { j.finish(c.read, fetch.Result{Err: err}) })
			}
		}
		l.waiting[lane] = nil
	}
	return calls
}

// probe asks a store that is down for what it failed at last, for nobody.
func (l *line) probe() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.stranded) == 0 {
		l.halfOpen() // no read waits: the next who comes finds out
		return
	}
	if l.calls[l.breaker.last] == nil {
		l.enqueue(&call{read: l.breaker.last, lane: First})
	}
	l.breaker.probing = true
	l.hire()
}
