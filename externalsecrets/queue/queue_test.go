package queue_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/externalsecrets/queue"
	"github.com/lockstep-dev/lockstep/providers"
)

// service is a store that counts requests, and answers as its fields say.
type service struct {
	latency time.Duration
	limit   int // requests in any second; 0 is no limit

	mu       sync.Mutex
	down     bool
	hangs    bool
	requests []time.Time
	refused  int
	paths    []string
}

// Read implements providers.Reader.
func (s *service) Read(ctx context.Context, ref providers.Ref) (providers.Value, error) {
	return providers.NewValue([]byte("of " + ref.Path)), s.request(ctx, ref.Path)
}

func (s *service) request(ctx context.Context, path string) error {
	now := time.Now()
	s.mu.Lock()
	s.requests, s.paths = append(s.requests, now), append(s.paths, path)
	down, hangs, recent := s.down, s.hangs, 0
	for i := len(s.requests) - 1; i >= 0 && now.Sub(s.requests[i]) < time.Second; i-- {
		recent++
	}
	refused := s.limit > 0 && recent > s.limit
	if refused {
		s.refused++
	}
	s.mu.Unlock()
	switch {
	case hangs:
		<-ctx.Done()
		return ctx.Err()
	case down:
		return providers.ErrUnavailable
	case refused:
		return providers.Throttled{}
	}
	time.Sleep(s.latency)
	return nil
}

func (s *service) calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

// since counts the requests after a time.
func (s *service) since(t time.Time) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.requests {
		if at.After(t) {
			n++
		}
	}
	return n
}

// rate is how many requests came in the worst second, and in how many seconds
// any did.
func (s *service) rate() (peak, busy int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seconds := map[int64]int{}
	for _, at := range s.requests {
		seconds[at.Unix()]++
	}
	for _, n := range seconds {
		peak = max(peak, n)
	}
	return peak, len(seconds)
}

func (s *service) set(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

// batches is a service that reads many secrets with one request.
type batches struct{ *service }

// ReadAll implements providers.BatchReader.
func (b batches) ReadAll(ctx context.Context, refs []providers.Ref) []providers.Result {
	err := b.request(ctx, "")
	results := make([]providers.Result, len(refs))
	for i, ref := range refs {
		results[i] = providers.Result{Value: providers.NewValue([]byte("of " + ref.Path)), Err: err}
	}
	return results
}

// stores maps names to services.
type stores map[string]providers.Reader

// Line implements queue.Stores.
func (stores) Line(_ context.Context, read fetch.Read, _ string) (string, error) {
	return read.Store.Name, nil
}

// Get implements queue.Stores.
func (s stores) Get(_ context.Context, _, _, name string) (providers.Reader, error) {
	return s[name], nil
}

func read(store, path string) fetch.Read {
	return fetch.Read{Store: esv1.SecretStoreRef{Name: store}, Ref: providers.Ref{Path: path}}
}

func object(i int) types.NamespacedName {
	return types.NamespacedName{Namespace: "ns", Name: fmt.Sprint(i)}
}

// client is many objects that behave as a controller lets them.
type client struct {
	q     *queue.Queue
	every time.Duration
	key   func(i int) fetch.Read

	mu   sync.Mutex
	ok   int
	took []time.Duration
	errs []error
	busy map[int]bool
	due  map[int]time.Time
	have map[int]string // versions; nil if the objects do not keep them

	woken []int // of others
}

// ask submits the read of an object, and, as long as until is not over, does
// so again when it is due.
func (c *client) ask(ctx context.Context, i int, lane queue.Lane, until time.Time) {
	c.askAt(ctx, i, lane, until, time.Time{})
}

// askAt asks unless the object, which was due at a time, has been read since.
func (c *client) askAt(ctx context.Context, i int, lane queue.Lane, until, due time.Time) {
	c.mu.Lock()
	if !due.IsZero() && !c.due[i].Equal(due) {
		c.mu.Unlock()
		return
	}
	if c.busy == nil {
		c.busy, c.due = map[int]bool{}, map[int]time.Time{}
	}
	if c.busy[i] {
		c.mu.Unlock()
		return
	}
	c.busy[i] = true
	c.mu.Unlock()
	begin := time.Now()
	c.q.Submit(ctx, queue.Request{Object: object(i), Reads: []fetch.Read{c.key(i)}, Lane: lane, Every: c.every, Have: c.known(i)}, func(results map[fetch.Read]fetch.Result) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.busy[i] = false
		c.took = append(c.took, time.Since(begin))
		if err := results[c.key(i)].Err; err != nil {
			c.errs = append(c.errs, err)
			return
		}
		c.ok++
		c.learn(i, results[c.key(i)])
		due := results[c.key(i)].At.Add(c.every + time.Duration(i%100)*c.every/1000)
		if c.every == 0 || due.After(until) {
			return
		}
		c.due[i] = due
		c.q.Expect(object(i), queue.Expectation{Due: due, Every: c.every, Versions: c.versions(i)})
		time.AfterFunc(time.Until(due), func() {
			c.askAt(ctx, i, queue.Periodic, until, due)
		})
	})
}

func (c *client) done() (ok, failed int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ok, len(c.errs)
}

func TestSameSecretIsReadOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{latency: 50 * time.Millisecond}
		c := &client{q: &queue.Queue{Stores: stores{"s": s}}, key: func(int) fetch.Read { return read("s", "db") }}
		for i := range 1000 {
			c.ask(t.Context(), i, queue.Periodic, time.Time{})
		}
		time.Sleep(time.Second)
		if ok, failed := c.done(); ok != 1000 || failed != 0 || s.calls() != 1 {
			t.Errorf("got %d values and %d errors with %d requests, want 1000, 0 and 1", ok, failed, s.calls())
		}
	})
}

func TestSameSecretIsReadOnceAnInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{latency: 50 * time.Millisecond}
		c := &client{q: &queue.Queue{Stores: stores{"s": s}}, every: time.Hour, key: func(int) fetch.Read { return read("s", "db") }}
		end := time.Now().Add(10 * time.Hour)
		c.q.Wake = func(o types.NamespacedName, lane queue.Lane) {
			var i int
			_, _ = fmt.Sscan(o.Name, &i)
			c.ask(t.Context(), i, lane, end)
		}
		for i := range 1000 { // made over half an interval
			c.ask(t.Context(), i, queue.First, end)
			time.Sleep(1800 * time.Millisecond)
		}
		time.Sleep(time.Hour)
		before := s.calls()
		ok, _ := c.done()
		time.Sleep(time.Hour)
		if again, _ := c.done(); s.calls()-before != 1 || again-ok != 1000 {
			t.Errorf("an interval: %d requests for %d values, want 1 for 1000", s.calls()-before, again-ok)
		}
	})
}

func TestBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{latency: 50 * time.Millisecond}
		c := &client{q: &queue.Queue{Stores: stores{"s": batches{s}}}, every: time.Hour, key: func(i int) fetch.Read { return read("s", fmt.Sprint(i)) }}
		begin := time.Now()
		c.q.Wake = func(o types.NamespacedName, lane queue.Lane) {
			var i int
			_, _ = fmt.Sscan(o.Name, &i)
			c.ask(t.Context(), i, lane, begin.Add(3*time.Hour))
		}
		for i := range 1000 {
			c.ask(t.Context(), i, queue.First, begin.Add(3*time.Hour))
		}
		time.Sleep(30 * time.Minute)
		// The first request finds out that there are batches.
		if ok, _ := c.done(); ok != 1000 || s.calls() > 55 {
			t.Errorf("first reads: got %d values with %d requests, want 1000 with at most 55", ok, s.calls())
		}
		before := s.calls()
		time.Sleep(time.Hour)
		if ok, _ := c.done(); ok < 2000 || s.calls()-before > 55 {
			t.Errorf("an interval: got %d values with %d requests, want 1000 with at most 55", ok-1000, s.calls()-before)
		}
	})
}

func TestLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{latency: time.Second}
		c := &client{q: &queue.Queue{Stores: stores{"s": s}}, key: func(i int) fetch.Read { return read("s", fmt.Sprint(i)) }}
		for i := range 100 {
			c.ask(t.Context(), i, queue.Periodic, time.Time{})
		}
		time.Sleep(100 * time.Millisecond) // the line is full: 8 are being read
		for i := range 20 {
			c.ask(t.Context(), 100+i, queue.Repair, time.Time{})
		}
		c.ask(t.Context(), 120, queue.First, time.Time{})
		c.ask(t.Context(), 100, queue.Periodic, time.Time{}) // it stays urgent
		time.Sleep(time.Minute)
		s.mu.Lock()
		defer s.mu.Unlock()
		// 8 start at once, in no order among themselves: the new one is of the
		// next 8, though it came last, and the repairs are of the next 24.
		if at := slices.Index(s.paths, "120"); at < 8 || at >= 16 {
			t.Errorf("with 20 repairs and 92 periodic reads in line, the new one was number %d", at)
		}
		for i := range 20 {
			if at := slices.Index(s.paths, fmt.Sprint(100+i)); at < 8 || at >= 32 {
				t.Errorf("with 92 periodic reads in line, repair %d was number %d", i, at)
			}
		}
	})
}

func TestHangingStoreDisturbsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := stores{"hung": &service{hangs: true}}
		for i := range 19 {
			all[fmt.Sprint(i)] = &service{latency: 50 * time.Millisecond}
		}
		q := &queue.Queue{Stores: all}
		hung := &client{q: q, key: func(i int) fetch.Read { return read("hung", fmt.Sprint(i)) }}
		others := &client{q: q, key: func(i int) fetch.Read { return read(fmt.Sprint(i%19), fmt.Sprint(i)) }}
		for i := range 190 {
			hung.ask(t.Context(), 1000+i, queue.First, time.Time{})
			others.ask(t.Context(), i, queue.First, time.Time{})
		}
		time.Sleep(time.Minute)
		if ok, _ := others.done(); ok != 190 || slices.Max(others.took) > 200*time.Millisecond {
			t.Errorf("the other stores: %d reads, the last after %s, want 190 within 200ms", ok, slices.Max(others.took))
		}
		if _, failed := hung.done(); failed != 190 || slices.Max(hung.took) > 25*time.Second {
			t.Errorf("the store that hangs: %d errors, the last after %s, want 190 within 25s", failed, slices.Max(hung.took))
		}
	})
}

func TestDownForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{latency: 50 * time.Millisecond}
		s.set(true)
		c := &client{q: &queue.Queue{Stores: stores{"s": s}}, key: func(i int) fetch.Read { return read("s", fmt.Sprint(i%2000)) }}
		c.q.Wake = func(o types.NamespacedName, lane queue.Lane) {
			var i int
			_, _ = fmt.Sscan(o.Name, &i)
			c.ask(t.Context(), i, lane, time.Time{})
		}
		for i := range 10000 {
			c.ask(t.Context(), i, queue.Periodic, time.Time{})
		}
		time.Sleep(time.Minute)
		first, worst := s.calls(), 0 // in the first minute the line finds out that the store is down
		for range 59 {
			before := time.Now()
			time.Sleep(time.Minute)
			worst = max(worst, s.since(before))
		}
		if first > 15 || worst > 2 {
			t.Errorf("down for an hour: %d requests in the first minute, then up to %d in one, want 15 and 2", first, worst)
		}
		c.mu.Lock()
		c.errs = nil
		c.mu.Unlock()
		s.set(false)
		back := time.Now()
		for ok := 0; ok < 10000 && time.Since(back) < 2*time.Minute; ok, _ = c.done() {
			time.Sleep(time.Second)
		}
		if ok, _ := c.done(); ok != 10000 {
			t.Errorf("two minutes after it came back: %d of 10000 objects have their value", ok)
		}
		// test/bench reads this line.
		t.Logf(`figures: {"objects": 10000, "first_minute": %d, "worst_minute": %d, "recovery_s": %.0f}`, first, worst, time.Since(back).Seconds())
	})
}

func TestThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const objects, keys, limit = 10000, 2000, 100
		s := &service{latency: 20 * time.Millisecond, limit: limit}
		c := &client{q: &queue.Queue{Stores: stores{"s": s}}, key: func(i int) fetch.Read { return read("s", fmt.Sprint(i%keys)) }}
		for i := range objects {
			c.ask(t.Context(), i, queue.Periodic, time.Time{})
		}
		// Whoever was refused asks again a little later, as a controller would.
		for range 10 {
			time.Sleep(10 * time.Second)
			c.mu.Lock()
			again := len(c.errs)
			c.errs = nil
			c.mu.Unlock()
			for i := range again {
				c.ask(t.Context(), objects+i, queue.Periodic, time.Time{})
			}
		}
		peak, busy := s.rate()
		t.Logf("%d requests for %d keys, %d refused; %d in %d busy seconds, %d in the worst", s.calls(), keys, s.refused, s.calls(), busy, peak)
		if float64(peak) > 1.5*float64(s.calls())/float64(busy) {
			t.Errorf("%d requests in one second, of %d in %d: want at most half more than the mean", peak, s.calls(), busy)
		}
		if s.calls() > keys*11/10 {
			t.Errorf("%d requests for %d keys, of which %d were refused: want at most a tenth more", s.calls(), keys, s.refused)
		}
	})
}
