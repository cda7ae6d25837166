package queue_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/externalsecrets/queue"
	"github.com/lockstep-dev/lockstep/providers"
)

// known is what an object has of its read.
func (c *client) known(i int) map[fetch.Read]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.have[i] == "" {
		return nil
	}
	return map[fetch.Read]string{c.key(i): c.have[i]}
}

// versions is the same as a list; the caller holds the lock.
func (c *client) versions(i int) []string {
	if c.have[i] == "" {
		return nil
	}
	return []string{c.have[i]}
}

// learn notes the version of an answer; the caller holds the lock.
func (c *client) learn(i int, r fetch.Result) {
	if c.have == nil {
		return
	}
	if r.Unchanged && r.Version != c.have[i] {
		c.errs = append(c.errs, fmt.Errorf("object %d has version %q, and is told that it is %q still", i, c.have[i], r.Version))
	}
	c.have[i] = r.Version
}

// catalogue is a service that lists versions, of its secrets and of others.
type catalogue struct {
	batches

	late   time.Duration
	others int // secrets that nobody reads

	mu      sync.Mutex
	version map[string]int // of secrets that are not in their first
	reads   map[string]int // by path
	lists   int
	denied  bool
	gone    map[string]bool // paths of secrets that are not there
}

// ReadAll implements providers.BatchReader.
func (s *catalogue) ReadAll(ctx context.Context, refs []providers.Ref) []providers.Result {
	results := s.batches.ReadAll(ctx, refs)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, ref := range refs {
		results[i].Version = "v" + strconv.Itoa(s.version[ref.Path])
		s.reads[ref.Path]++
		if s.gone[ref.Path] {
			results[i] = providers.Result{Err: providers.ErrNotFound}
		}
	}
	return results
}

// Listing implements providers.VersionLister.
func (s *catalogue) Listing() providers.Listing {
	return providers.Listing{PerPage: 100, Late: s.late}
}

// Versions implements providers.VersionLister: of secrets named 0 to 999, and
// others.
func (s *catalogue) Versions(ctx context.Context, page string, refs []providers.Ref) (map[providers.Ref]string, string, error) {
	err := s.request(ctx, "")
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		return nil, "", err
	}
	if s.lists++; s.denied {
		return nil, "", providers.ErrDenied
	}
	n, _ := strconv.Atoi(page)
	versions := map[providers.Ref]string{}
	for _, ref := range refs {
		if i, _ := strconv.Atoi(ref.Path); i/100 == n && !s.gone[ref.Path] {
			versions[ref] = "v" + strconv.Itoa(s.version[ref.Path])
		}
	}
	if n++; n*100 < 1000+s.others {
		return versions, strconv.Itoa(n), nil
	}
	return versions, "", nil
}

func (s *catalogue) counts(path string) (requests, lists, reads int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls(), s.lists, s.reads[path]
}

// thousand is 1,000 objects that read a secret each, all for the first time.
func thousand(t *testing.T, s *catalogue, every time.Duration) *client {
	t.Helper()
	s.batches, s.version, s.reads = batches{&service{latency: 50 * time.Millisecond}}, map[string]int{}, map[string]int{}
	c := &client{q: &queue.Queue{Stores: stores{"s": s}}, every: every, have: map[int]string{}, key: func(i int) fetch.Read { return read("s", fmt.Sprint(i)) }}
	end := time.Now().Add(8 * every)
	c.q.Wake = func(o types.NamespacedName, lane queue.Lane) {
		var i int
		if _, _ = fmt.Sscan(o.Name, &i); i >= 1000 { // no one of them
			c.mu.Lock()
			defer c.mu.Unlock()
			c.woken = append(c.woken, i)
			return
		}
		c.ask(t.Context(), i, lane, end)
	}
	for i := range 1000 {
		c.ask(t.Context(), i, queue.First, end)
	}
	time.Sleep(every / 2)
	if ok, failed := c.done(); ok != 1000 || failed != 0 {
		t.Fatalf("first reads: %d values and %d errors, want 1000 and 0", ok, failed)
	}
	return c
}

func TestVersionsInPlaceOfReads(t *testing.T) {
	const late = 5 * time.Minute
	for name, tc := range map[string]struct {
		catalogue *catalogue
		every     time.Duration
		most      int // requests per interval
		lists     int // that must or must not be among those of two intervals
	}{
		"all that the store holds":                             {&catalogue{late: late}, time.Hour, 11, 20},
		"with as many others":                                  {&catalogue{late: late, others: 1000}, time.Hour, 21, 40},
		"with too many others":                                 {&catalogue{late: late, others: 100_000}, time.Hour, 75, 25},
		"an interval that is too short for how late a list is": {&catalogue{late: late}, 10 * time.Minute, 55, 0},
		"without the right to list":                            {&catalogue{late: late, denied: true}, time.Hour, 55, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := tc.catalogue
				c := thousand(t, s, tc.every)
				before, _, _ := s.counts("")
				time.Sleep(2 * tc.every)
				requests, lists, _ := s.counts("")
				if ok, failed := c.done(); ok < 2900 || failed != 0 || requests-before > 2*tc.most {
					t.Errorf("two intervals: %d answers, %d errors (%v), %d requests, want 2000, 0 and at most %d", ok-1000, failed, c.errs, requests-before, 2*tc.most)
				}
				if lists < tc.lists*3/4 || lists > tc.lists+tc.lists/2 {
					t.Errorf("two intervals: %d requests list, want about %d", lists, tc.lists)
				}
			})
		})
	}
}

// TestChangeIsReadWhenListed changes 40 secrets of a thousand: they are read
// with the list, once, in two batches, and before their interval is over.
func TestChangeIsReadWhenListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &catalogue{late: 5 * time.Minute}
		c := thousand(t, s, time.Hour)
		s.mu.Lock()
		for i := range 40 {
			s.version[fmt.Sprint(400+10*i)] = 1
		}
		s.mu.Unlock()
		before, _, reads := s.counts("410")
		time.Sleep(37 * time.Minute) // 67 since they were read: an interval and a tenth, with what the test's objects add
		requests, _, again := s.counts("410")
		if again-reads != 1 || requests-before > 13 {
			t.Errorf("an interval: a secret that changed was read %d times, with %d requests in all, want once and at most 13", again-reads, requests-before)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.have[410] != "v1" || c.have[411] != "v0" || len(c.errs) != 0 {
			t.Errorf("versions: got %q of a secret that changed, %q of another, %v, want v1 and v0", c.have[410], c.have[411], c.errs)
		}
	})
}

// TestListIsNoAnswerForWhoMustKnow asks for a secret as someone who waits for
// it does, and as an object does that has no version: both get the value.
func TestListIsNoAnswerForWhoMustKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &catalogue{late: 5 * time.Minute}
		c := thousand(t, s, time.Hour)
		for _, request := range []queue.Request{
			{Object: object(5000), Lane: queue.First},
			{Object: object(5001), Lane: queue.Repair},
			{Object: object(5002), Lane: queue.Periodic, Every: time.Hour},
			{Object: object(5003), Lane: queue.Periodic, Every: time.Hour, Have: map[fetch.Read]string{read("s", "5"): "another"}},
		} {
			time.Sleep(20 * time.Minute)
			request.Reads = []fetch.Read{read("s", "5")}
			results, err := c.q.Read(t.Context(), request)
			got := results[read("s", "5")]
			if err != nil || got.Err != nil || got.Unchanged || string(got.Value.Bytes()) != "of 5" {
				t.Errorf("lane %d: got unchanged %v, %v, %v, want the value", request.Lane, got.Unchanged, got.Err, err)
			}
		}
	})
}

// TestMissingSecretIsListed has objects that miss secrets which nobody else
// reads: a list that is made for others finds one, and wakes those who have all
// that they need, once.
func TestMissingSecretIsListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &catalogue{late: 5 * time.Minute, others: 100, gone: map[string]bool{"1050": true, "1051": true}}
		c := thousand(t, s, time.Hour)
		find := fetch.Read{Store: read("s", "").Store, Find: `{"path":"x"}`} // which says nothing of what is in a list
		all := map[int][]fetch.Read{
			5000: {read("s", "1050")}, 5001: {read("s", "1050"), read("s", "5")},
			5002: {read("s", "1050"), read("s", "1051")}, 5003: {read("s", "5"), read("s", "1051")}, 5004: {read("s", "5"), find},
		}
		for i, reads := range all {
			if _, err := c.q.Read(t.Context(), queue.Request{Object: object(i), Reads: reads}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range all {
			c.q.Expect(object(i), queue.Expectation{Due: time.Now().Add(24 * time.Hour), Every: time.Hour, Failed: true, Missing: true})
		}
		woken := func(when string, want ...int) {
			t.Helper()
			c.mu.Lock()
			defer c.mu.Unlock()
			slices.Sort(c.woken)
			if diff := cmp.Diff(want, c.woken); diff != "" {
				t.Errorf("%s: who is woken (-want +got):\n%s", when, diff)
			}
		}
		_, before, _ := s.counts("")
		time.Sleep(2 * time.Hour)
		if _, lists, _ := s.counts(""); lists < before+20 {
			t.Fatalf("%d pages of lists in two intervals, want 22", lists-before)
		}
		woken("as long as it is missing")
		s.mu.Lock()
		delete(s.gone, "1050")
		s.mu.Unlock()
		time.Sleep(2 * time.Hour)
		woken("when it is there", 5000, 5001)
	})
}
