package serve

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Control counts requests by operation and makes them fail on demand. The zero
// value is ready.
type Control struct {
	mu     sync.Mutex
	counts map[string]int
	faults []*Fault
	rate   map[int64]*second // by Unix time
	peers  map[string]bool   // addresses that requests came from
}

// second is what came within one second.
type second struct {
	Unix     int64 `json:"unix"`
	Requests int   `json:"requests"`
	Refused  int   `json:"refused"` // of them, by a fault
}

// Fault is what happens to requests instead of, or before, an answer.
type Fault struct {
	// Operation names what fails; a * at its end stands for any rest, and an
	// empty one for everything.
	Operation string `json:"operation"`
	// Code and Status are the error to answer with. Neither: only the delay.
	Code   string `json:"code,omitempty"`
	Status int    `json:"status,omitempty"`
	// DelayMillis holds the answer back for so many milliseconds.
	DelayMillis int `json:"delayMillis,omitempty"`
	// Times is how many requests it is for; 0 is all until it is removed.
	Times int `json:"times,omitempty"`
	// PerSecond lets so many requests through in every second, and is for those
	// that are more.
	PerSecond int `json:"perSecond,omitempty"`
}

func (f *Fault) matches(operation string) bool {
	if prefix, ok := strings.CutSuffix(f.Operation, "*"); ok {
		return strings.HasPrefix(operation, prefix)
	}
	return f.Operation == "" || f.Operation == operation
}

// Begin counts a request, waits as a fault says, and returns the fault whose
// error is the answer, or nil.
func (c *Control) Begin(r *http.Request, operation string) *Fault {
	f := c.take(operation, r.RemoteAddr)
	if f == nil {
		return nil
	}
	select {
	case <-r.Context().Done():
	case <-time.After(time.Duration(f.DelayMillis) * time.Millisecond):
	}
	if f.Code == "" && f.Status == 0 {
		return nil
	}
	return f
}

func (c *Control) take(operation, peer string) *Fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts, c.peers = map[string]int{}, map[string]bool{}
	}
	c.peers[peer] = true
	c.counts[operation]++
	now := c.now()
	now.Requests++
	for i, f := range c.faults {
		if !f.matches(operation) || f.PerSecond > 0 && now.Requests <= f.PerSecond {
			continue
		}
		if f.Code != "" || f.Status != 0 {
			now.Refused++
		}
		found := *f
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				c.faults = append(c.faults[:i:i], c.faults[i+1:]...)
			}
		}
		return &found
	}
	return nil
}

// now is the current second.
func (c *Control) now() *second {
	at := time.Now().Unix()
	if c.rate == nil {
		c.rate = map[int64]*second{}
	}
	if c.rate[at] == nil {
		c.rate[at] = &second{Unix: at}
	}
	return c.rate[at]
}

// seconds returns those in which anything came, in their order.
func (c *Control) seconds() []second {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := []second{}
	for _, at := range slices.Sorted(maps.Keys(c.rate)) {
		all = append(all, *c.rate[at])
	}
	return all
}

// Handle adds the admin API of c to mux: GET and DELETE /_admin/counters,
// GET /_admin/seconds, GET /_admin/connections, POST and DELETE /_admin/faults.
func (c *Control) Handle(mux *http.ServeMux) {
	mux.HandleFunc("GET /_admin/counters", func(w http.ResponseWriter, _ *http.Request) {
		c.mu.Lock()
		counts := maps.Clone(c.counts)
		c.mu.Unlock()
		if counts == nil {
			counts = map[string]int{}
		}
		WriteJSON(w, http.StatusOK, counts)
	})
	mux.HandleFunc("DELETE /_admin/counters", func(w http.ResponseWriter, _ *http.Request) {
		c.mu.Lock()
		c.counts, c.rate, c.peers = nil, nil, nil
		c.mu.Unlock()
		WriteJSON(w, http.StatusOK, struct{}{})
	})
	mux.HandleFunc("GET /_admin/seconds", func(w http.ResponseWriter, _ *http.Request) { WriteJSON(w, http.StatusOK, c.seconds()) })
	mux.HandleFunc("GET /_admin/connections", func(w http.ResponseWriter, _ *http.Request) {
		c.mu.Lock()
		n := len(c.peers)
		c.mu.Unlock()
		WriteJSON(w, http.StatusOK, n)
	})
	mux.HandleFunc("POST /_admin/faults", JSON(func(f Fault) (any, error) {
		c.mu.Lock()
		c.faults = append(c.faults, &f)
		c.mu.Unlock()
		return struct{}{}, nil
	}))
	mux.HandleFunc("DELETE /_admin/faults", func(w http.ResponseWriter, _ *http.Request) {
		c.mu.Lock()
		c.faults = nil
		c.mu.Unlock()
		WriteJSON(w, http.StatusOK, struct{}{})
	})
}
