package serve

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestPerSecond(t *testing.T) {
	c := &Control{faults: []*Fault{{Operation: "GET *", Status: 429, PerSecond: 3}}}
	for range 3 {
		c.count(t, "GET a", false)
	}
	refused := 0
	for range 20 {
		if c.Begin(httptest.NewRequest(http.MethodGet, "/", nil), "GET a") != nil {
			refused++
		}
	}
	requests, told := 0, 0
	for _, s := range c.seconds() {
		requests, told = requests+s.Requests, told+s.Refused
		if s.Requests-s.Refused > 3 {
			t.Errorf("a second let %d requests through, want 3 at most", s.Requests-s.Refused)
		}
	}
	if requests != 23 || told != refused || refused == 0 {
		t.Errorf("got %d requests and %d refused, want 23 and %d", requests, told, refused)
	}
	c.count(t, "PUT a", false)
}

// count sends one request.
func (c *Control) count(t *testing.T, operation string, refused bool) {
	t.Helper()
	if got := c.Begin(httptest.NewRequest(http.MethodGet, "/", nil), operation) != nil; got != refused {
		t.Errorf("%s: refused is %t, want %t", operation, got, refused)
	}
}
