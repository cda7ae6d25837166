package queue_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/externalsecrets/queue"
	"github.com/lockstep-dev/lockstep/providers"
)

// slow makes a controller that is busy: whom the queue wakes comes up to 20 s
// later.
func (c *client) slow(ctx context.Context, end time.Time) {
	c.q.Wake = func(o types.NamespacedName, lane queue.Lane) {
		var i int
		_, _ = fmt.Sscan(o.Name, &i)
		time.AfterFunc(rand.N(20*time.Second), func() { c.ask(ctx, i, lane, end) })
	}
}

// An interval of many objects costs what their secrets do, also where the
// objects are slow to come.
func TestBusyController(t *testing.T) {
	for name, tc := range map[string]struct {
		keys int
		want int // requests for all, at most
	}{
		"OneSecret":           {keys: 1, want: 1},
		"SecretsOfTheirOwn":   {keys: 1000, want: 55},
		"TwentyOfThem":        {keys: 20, want: 2},
		"HundredAndOneOfThem": {keys: 101, want: 12},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &service{latency: 50 * time.Millisecond}
				c := &client{q: &queue.Queue{Stores: stores{"s": batches{s}}}, every: time.Hour, key: func(i int) fetch.Read { return read("s", fmt.Sprint(i%tc.keys)) }}
				end := time.Now().Add(10 * time.Hour)
				c.slow(t.Context(), end)
				for i := range 1000 {
					c.ask(t.Context(), i, queue.First, end)
				}
				time.Sleep(30 * time.Minute)
				for n := range 3 {
					ok, _ := c.done()
					before := s.calls()
					time.Sleep(time.Hour)
					again, _ := c.done()
					if again, calls := again-ok, s.calls()-before; calls > tc.want || again < 1000 {
						t.Errorf("interval %d: %d values with %d requests, want 1000 with at most %d", n+1, again, calls, tc.want)
					}
				}
			})
		})
	}
}

// What is handed on is never older than a twentieth of the interval, and who
// wants a new value gets one.
func TestSharedAnswersAreFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{latency: time.Millisecond}
		q := &queue.Queue{Stores: stores{"s": s}}
		ask := func(i int, lane queue.Lane, every time.Duration) {
			results, err := q.Read(t.Context(), queue.Request{Object: object(i), Reads: []fetch.Read{read("s", "db")}, Lane: lane, Every: every})
			if err != nil || results[read("s", "db")].Err != nil {
				t.Fatal(err, results)
			}
		}
		ask(0, queue.Periodic, time.Minute)
		for _, step := range []struct {
			what  string
			after time.Duration
			lane  queue.Lane
			every time.Duration
			want  int
		}{
			{"a second later", time.Second, queue.Periodic, time.Minute, 1},
			{"for a short interval", 0, queue.Periodic, time.Second, 2},
			{"a forced sync", 0, queue.First, time.Minute, 3},
			{"a repair", 0, queue.Repair, time.Minute, 4},
			{"without an interval", 0, queue.Periodic, 0, 5},
			{"a twentieth of the interval later", 4 * time.Second, queue.Periodic, time.Minute, 6},
		} {
			time.Sleep(step.after)
			if ask(1, step.lane, step.every); s.calls() != step.want {
				t.Errorf("%s: %d requests in all, want %d", step.what, s.calls(), step.want)
			}
		}
	})
}

// Objects that miss a secret hear of it when another object finds it.
func TestMissingSecretAppears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &missing{}
		woken := map[types.NamespacedName]bool{}
		q := &queue.Queue{Stores: stores{"s": s}, Wake: func(o types.NamespacedName, _ queue.Lane) { woken[o] = true }}
		ask := func(i int) error {
			results, err := q.Read(t.Context(), queue.Request{Object: object(i), Reads: []fetch.Read{read("s", "db")}})
			if err != nil {
				t.Fatal(err)
			}
			return results[read("s", "db")].Err
		}
		for i := range 10 {
			if err := ask(i); err == nil {
				t.Fatal("there is no secret, and no error")
			}
			q.Expect(object(i), queue.Expectation{Due: time.Now().Add(time.Hour), Every: time.Hour, Failed: true})
		}
		s.there = true
		if err := ask(99); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(woken) != 10 {
			t.Errorf("%d objects were woken, want the 10 that missed it", len(woken))
		}
		time.Sleep(time.Hour)
	})
}

// missing is a store whose secret is there, or not.
type missing struct{ there bool }

// Read implements providers.Reader.
func (m *missing) Read(context.Context, providers.Ref) (providers.Value, error) {
	if !m.there {
		return providers.Value{}, providers.ErrNotFound
	}
	return providers.NewValue([]byte("x")), nil
}

// The watchdog sees what is late, whatever the reason.
func TestOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue.Queue{Stores: stores{"s": &service{}}}
		request := queue.Request{Object: object(0), Reads: []fetch.Read{read("s", "db")}}
		if _, err := q.Read(t.Context(), request); err != nil {
			t.Fatal(err)
		}
		late := func(what string, want time.Duration) {
			t.Helper()
			if got := q.Overdue(time.Now()); got != want {
				t.Errorf("%s: overdue by %s, want %s", what, got, want)
			}
		}
		q.Expect(object(0), queue.Expectation{Due: time.Now().Add(time.Hour), Every: time.Hour})
		late("before it is due", 0)
		time.Sleep(90 * time.Minute)
		late("half an hour late", 30*time.Minute)
		q.Expect(object(0), queue.Expectation{Due: time.Now().Add(time.Minute), Every: time.Minute, Failed: true})
		late("after a failure", 30*time.Minute)
		q.Expect(object(0), queue.Expectation{})
		late("without an interval", 0)
		q.Forget(object(0))
		late("when it is gone", 0)
	})
}

func TestEachOwnsItsValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue.Queue{Stores: stores{"s": &service{}}}
		var got [][]byte
		var mu sync.Mutex
		for i := range 2 {
			q.Submit(t.Context(), queue.Request{Object: object(i), Reads: []fetch.Read{read("s", "db")}}, func(r map[fetch.Read]fetch.Result) {
				mu.Lock()
				defer mu.Unlock()
				got = append(got, r[read("s", "db")].Value.Bytes())
			})
		}
		time.Sleep(time.Second)
		mu.Lock()
		defer mu.Unlock()
		got[0][0] = 'X'
		if string(got[1]) != "of db" {
			t.Errorf("a change of one object's value shows in the other's: %s", got[1])
		}
	})
}
