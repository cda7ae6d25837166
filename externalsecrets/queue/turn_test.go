package queue_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/externalsecrets/queue"
	"github.com/lockstep-dev/lockstep/providers"
)

// writer is objects that write one secret each, and try again when they are
// told to, or after a minute.
type writer struct {
	t     *testing.T
	q     *queue.Queue
	store string

	mu   sync.Mutex
	done map[types.NamespacedName]bool
	errs []error
	end  bool
}

func (w *writer) wake(object types.NamespacedName) { go w.write(object) }

func (w *writer) write(object types.NamespacedName) {
	if err := w.once(object); err != nil {
		w.mu.Lock()
		w.errs = append(w.errs, err)
		end := w.end
		w.mu.Unlock()
		var throttled providers.Throttled
		switch {
		case end || errors.Is(err, queue.ErrBusy):
			return
		case errors.As(err, &throttled) && throttled.After > 0:
			time.Sleep(throttled.After)
		default:
			time.Sleep(time.Minute)
		}
		w.wake(object)
	}
}

func (w *writer) once(object types.NamespacedName) error {
	w.mu.Lock()
	over := w.end || w.done[object]
	w.mu.Unlock()
	if over {
		return nil
	}
	turn, err := w.q.Turn(w.t.Context(), queue.Writing{Object: object, Store: esv1.SecretStoreRef{Name: w.store}, Key: object.Name, Wake: w.wake})
	if err != nil {
		return err
	}
	defer turn.End()
	err = turn.Do(w.t.Context(), func(ctx context.Context, r providers.Reader) error {
		_, err := r.Read(ctx, providers.Ref{Path: object.Name}) // a request is a request
		return err
	})
	if err == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.done[object] = true
	}
	return err
}

func (w *writer) finished() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.done)
}

func (w *writer) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end = true
}

// start lets n objects write to a store.
func start(t *testing.T, q *queue.Queue, store string, n int) *writer {
	t.Helper()
	w := &writer{t: t, q: q, store: store, done: map[types.NamespacedName]bool{}}
	for i := range n {
		w.wake(object(i))
	}
	return w
}

func TestWritersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		most, now := 0, 0
		var mu sync.Mutex
		s := &service{latency: 50 * time.Millisecond}
		q := &queue.Queue{Stores: stores{"s": counted{s, func(d int) {
			mu.Lock()
			defer mu.Unlock()
			now += d
			most = max(most, now)
		}}}}
		w := start(t, q, "s", 100)
		time.Sleep(10 * time.Second)
		if w.finished() != 100 || s.calls() != 100 || most != 2 {
			t.Errorf("100 objects: %d have written with %d requests, %d at once, want 100, 100 and 2", w.finished(), s.calls(), most)
		}
	})
}

// counted tells how many requests are under way.
type counted struct {
	*service
	change func(int)
}

// Read implements providers.Reader.
func (c counted) Read(ctx context.Context, ref providers.Ref) (providers.Value, error) {
	c.change(1)
	defer c.change(-1)
	return c.service.Read(ctx, ref)
}

func TestWritersHoldUpNoOtherStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stores{}
		for i := range 20 {
			s[fmt.Sprint(i)] = &service{latency: 50 * time.Millisecond, hangs: i == 0}
		}
		q := &queue.Queue{Stores: s}
		begin, all := time.Now(), []*writer{}
		for i := range 20 {
			all = append(all, start(t, q, fmt.Sprint(i), 10))
		}
		for i := 1; i < 20; i++ {
			for all[i].finished() < 10 {
				time.Sleep(10 * time.Millisecond)
			}
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("one store of 20 hangs: the others were written after %s, want at most a second", took)
		}
		time.Sleep(time.Minute)
		all[0].stop()
		time.Sleep(5 * time.Minute)
	})
}

// TestWritersAndAStoreThatIsDown wants few probes and a fast recovery, also
// if no read finds out how the store is.
func TestWritersAndAStoreThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{latency: 50 * time.Millisecond}
		s.set(true)
		w := start(t, &queue.Queue{Stores: stores{"s": s}}, "s", 200)
		time.Sleep(10 * time.Minute)
		before := time.Now()
		time.Sleep(50 * time.Minute)
		if n := s.since(before); n > 100 {
			t.Errorf("down for an hour: %d requests in 50 minutes, want 100", n)
		}
		s.set(false)
		time.Sleep(2 * time.Minute)
		if w.finished() != 200 {
			t.Errorf("two minutes after it came back: %d of 200 objects have written", w.finished())
		}
	})
}

func TestWritersAreThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{latency: 10 * time.Millisecond, limit: 20}
		w := start(t, &queue.Queue{Stores: stores{"s": s}}, "s", 500)
		time.Sleep(5 * time.Minute)
		if w.finished() != 500 || s.refused*10 > 500 {
			t.Errorf("a store that takes 20 requests a second: %d of 500 have written, and %d requests were refused", w.finished(), s.refused)
		}
	})
}
