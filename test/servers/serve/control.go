package serve

import (
	"maps"
	"net/http"
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
	f := c.take(operation)
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

func (c *Control) take(operation string) *Fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = map[string]int{}
	}
	c.counts[operation]++
	for i, f := range c.faults {
		if !f.matches(operation) {
			continue
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

// Handle adds the admin API of c to mux: GET and DELETE /_admin/counters,
// POST and DELETE /_admin/faults.
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
		c.counts = nil
		c.mu.Unlock()
		WriteJSON(w, http.StatusOK, struct{}{})
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
