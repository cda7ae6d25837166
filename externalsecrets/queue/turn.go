package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/providers"
)

// writersAtOnce is how many objects write to a store at the same time: a store
// that hangs holds up no more of those who write, who are some dozens in all.
const writersAtOnce = 2

// nudgeAfter is how soon another is woken if the last one does not come: it has
// written meanwhile, or is gone.
const nudgeAfter = time.Second

// ErrBusy says that others write to the store. Who asked is woken.
var ErrBusy = errors.New("others write to the store")

// A Writing is who wants to write what.
type Writing struct {
	Object types.NamespacedName
	Store  esv1.SecretStoreRef
	Key    string // of the secret, or of one of them
	// Wake is called when ErrBusy or ErrDown are over. It must not block.
	Wake func(types.NamespacedName)
}

// A Turn is leave to send requests to a store that change it, at the store's
// pace and as long as it is up. It ends with End.
type Turn struct {
	w    Writing
	line *line
	get  func(context.Context) (providers.Reader, error)
}

// writers are those who write to a store.
type writers struct {
	busy    int
	waiting []Writing // each object once
	nudge   *time.Timer
}

// wait remembers who is to be woken.
func (w *writers) wait(one Writing) {
	if !slices.ContainsFunc(w.waiting, func(o Writing) bool { return o.Object == one.Object }) {
		w.waiting = append(w.waiting, one)
	}
}

// admit counts one who writes, and waits no more.
func (w *writers) admit(object types.NamespacedName) {
	w.busy++
	w.waiting = slices.DeleteFunc(w.waiting, func(o Writing) bool { return o.Object == object })
}

// wakeWriters wakes n of those who wait, the first who came first.
func (l *line) wakeWriters(n int) {
	w := &l.writers
	n = min(n, len(w.waiting))
	for _, one := range w.waiting[:n] {
		one.Wake(one.Object)
	}
	w.waiting = slices.Delete(w.waiting, 0, n)
	if len(w.waiting) == 0 {
		return
	}
	if w.nudge == nil {
		w.nudge = time.AfterFunc(nudgeAfter, l.nudge)
	}
	w.nudge.Reset(nudgeAfter)
}

// nudge wakes another if nobody writes. Who waits for a store that is down is
// woken by the breaker.
func (l *line) nudge() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.breaker.closed() && l.writers.busy < l.writersAtOnce() {
		l.wakeWriters(1)
	}
}

// writersAtOnce is one as long as it is to be found out whether the store is
// back: it is asked once for all.
func (l *line) writersAtOnce() int {
	if l.breaker.failures >= tolerated-1 {
		return 1
	}
	return writersAtOnce
}

// Turn returns leave to write, or why there is none: the store does not admit
// the object, is down, or has enough to do.
func (q *Queue) Turn(ctx context.Context, w Writing) (*Turn, error) {
	name, err := q.Stores.Line(ctx, w.read(), w.Object.Namespace)
	if err != nil {
		return nil, unavailable(err)
	}
	l := q.line(ctx, name, w.Store, w.Object.Namespace)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.breaker.err; err != nil {
		l.writers.wait(w)
		return nil, err
	}
	if l.writers.busy >= l.writersAtOnce() {
		l.writers.wait(w)
		return nil, ErrBusy
	}
	l.writers.admit(w.Object)
	return &Turn{w: w, line: l, get: func(ctx context.Context) (providers.Reader, error) {
		return q.Stores.Get(ctx, w.Store.Kind, w.Object.Namespace, w.Store.Name)
	}}, nil
}

// read is what finds out whether the store is up, if nothing else does.
func (w Writing) read() fetch.Read {
	return fetch.Read{Store: w.Store, Ref: providers.Ref{Path: w.Key}}
}

// End lets the next one write.
func (t *Turn) End() {
	t.line.mu.Lock()
	defer t.line.mu.Unlock()
	t.line.writers.busy--
	if t.line.breaker.closed() {
		t.line.wakeWriters(1)
	}
}

// Do calls f with the open store, once it may be asked, and for as long as one
// request may take. It returns a Throttled if the store wants to be left alone
// for a while, and ErrDown if it was found to be down.
func (t *Turn) Do(ctx context.Context, f func(context.Context, providers.Reader) error) error {
	if left := t.line.pace.left(); left > 0 {
		return fmt.Errorf("left alone, as it asked for: %w", providers.Throttled{After: left})
	}
	if err := t.line.isDown(t.w); err != nil {
		return err
	}
	if err := t.line.pace.limit.Wait(ctx); err != nil {
		return fmt.Errorf("wait for the pace of the store: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	reader, err := t.get(limited)
	if err = unavailable(err); err == nil {
		err = f(limited, reader)
	}
	if ctx.Err() != nil {
		return err // the process ends; that says nothing about the store
	}
	if err != nil && limited.Err() != nil {
		err = errTimeout
	}
	t.line.wrote(t.w, err)
	return err
}

func (l *line) isDown(w Writing) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.breaker.err != nil {
		l.writers.wait(w)
	}
	return l.breaker.err
}

// wrote learns from a write how the store is.
func (l *line) wrote(w Writing, err error) {
	l.mu.Lock()
	l.judge([]*call{{read: w.read()}}, []fetch.Result{{Err: err}})
	refused := l.refuse()
	l.mu.Unlock()
	for _, r := range refused {
		r()
	}
}

// halfOpen lets one writer find out whether a store is back, if no read does.
func (l *line) halfOpen() {
	b := breaker{}
	if len(l.writers.waiting) > 0 {
		b.failures, b.after = tolerated-1, l.breaker.after
	}
	l.breaker = b
	l.wakeWriters(1)
}

// left is how long the store is to be left alone.
func (p *pace) left() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Until(p.until)
}
