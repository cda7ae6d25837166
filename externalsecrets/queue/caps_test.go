package queue_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/externalsecrets/queue"
	"github.com/lockstep-dev/lockstep/providers"
)

// ReadAll implements providers.BatchReader for services that have batches.
func (c counted) ReadAll(ctx context.Context, refs []providers.Ref) []providers.Result {
	c.change(1)
	defer c.change(-1)
	return batches{c.service}.ReadAll(ctx, refs)
}

// single is a service without batches.
type single struct{ providers.Reader }

// gauge measures how many requests are under way.
type gauge struct {
	mu        sync.Mutex
	now, most int
}

func (g *gauge) change(by int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now += by
	g.most = max(g.most, g.now)
}

// peak is how many requests came in the worst second, wherever it begins.
func (s *service) peak() (worst int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := 0
	for i, at := range s.requests {
		for at.Sub(s.requests[first]) >= time.Second {
			first++
		}
		worst = max(worst, i-first+1)
	}
	return worst
}

// TestAtOnce wants 8 requests at a time to a store that is slow, however many
// objects wait for it, with batches and without; and 8 more to the next store.
func TestAtOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		batches  bool
		requests int // of 400 reads
	}{"one by one": {false, 400}, "in batches": {true, 20}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all, gauges := stores{}, [2]gauge{}
				for i := range gauges {
					counting := counted{&service{latency: 5 * time.Second}, gauges[i].change}
					if all[fmt.Sprint(i)] = counting; !tc.batches {
						all[fmt.Sprint(i)] = single{counting}
					}
				}
				c := &client{q: &queue.Queue{Stores: all}, key: func(i int) fetch.Read { return read(fmt.Sprint(i%2), fmt.Sprint(i)) }}
				for i := range 800 {
					c.ask(t.Context(), i, queue.Lane(i/2%3), time.Time{})
				}
				time.Sleep(time.Hour)
				if ok, failed := c.done(); ok != 800 || failed != 0 {
					t.Errorf("%d answers and %d errors, want 800 and 0", ok, failed)
				}
				for i := range gauges {
					// The first request finds out how much goes into one.
					if n := calls(all[fmt.Sprint(i)]); gauges[i].most != 8 || n < tc.requests || n > tc.requests+2 {
						t.Errorf("store %d: %d of %d requests at once, want 8 of %d", i, gauges[i].most, n, tc.requests)
					}
				}
			})
		})
	}
}

// calls are those of the service in a reader.
func calls(r providers.Reader) int {
	if s, ok := r.(single); ok {
		r = s.Reader
	}
	return r.(counted).calls()
}

// TestFastest wants a store that answers at once to get 200 requests a second
// when it has shown that it can, 10 more in a burst, and never more: of reads
// and writes together. A store that does as well beside it has its own 200.
func TestFastest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := &service{latency: time.Millisecond}, &service{latency: time.Millisecond}
		q := &queue.Queue{Stores: stores{"s": first, "t": second}}
		const each = 20000
		c := &client{q: q, key: func(i int) fetch.Read { return read([]string{"s", "t"}[i%2], fmt.Sprint(i)) }}
		for i := range 2 * each {
			c.ask(t.Context(), i, queue.Periodic, time.Time{})
		}
		w := start(t, q, "s", 500)
		time.Sleep(10 * time.Minute)
		if ok, failed := c.done(); ok != 2*each || failed != 0 || w.finished() != 500 {
			t.Errorf("%d answers, %d errors and %d writes, want %d, 0 and 500", ok, failed, w.finished(), 2*each)
		}
		for name, s := range map[string]*service{"with writers": first, "with reads only": second} {
			if peak := s.peak(); peak < 195 || peak > 210 {
				t.Errorf("a store %s: %d requests in the worst second, want 200, and 210 at most", name, peak)
			}
			begin := s.requests[0]
			if n := slices.IndexFunc(s.requests, func(at time.Time) bool { return at.Sub(begin) >= time.Second }); n < 40 || n > 75 {
				t.Errorf("a store %s: %d requests in the first second, want about 50 as long as it is not known", name, n)
			}
		}
	})
}
