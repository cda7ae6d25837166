package providers

import (
	"maps"
	"net/http"
	"sync"
)

// Call is a kind of request to a service, and how it ended.
type Call struct {
	Provider, Name string // as External Secrets Operator calls them
	Failed         bool
}

// calls counts those of the process.
var calls = struct {
	sync.Mutex

	of map[Call]uint64
}{of: map[Call]uint64{}}

// Count counts one call. An answer that says that there is no such thing is
// none that failed.
func Count(c Call) {
	calls.Lock()
	defer calls.Unlock()
	calls.of[c]++
}

// Calls returns how many there were since the process began.
func Calls() map[Call]uint64 {
	calls.Lock()
	defer calls.Unlock()
	return maps.Clone(calls.of)
}

// Counted is a transport that counts its requests.
type Counted struct {
	Next http.RoundTripper
	// Name names the service and the call of a request; an empty service is not
	// counted.
	Name func(r *http.Request) (provider, call string)
}

// RoundTrip implements http.RoundTripper.
func (c Counted) RoundTrip(r *http.Request) (*http.Response, error) {
	got, err := c.Next.RoundTrip(r)
	if provider, call := c.Name(r); provider != "" {
		failed := err != nil || got.StatusCode >= http.StatusBadRequest && got.StatusCode != http.StatusNotFound
		Count(Call{provider, call, failed})
	}
	return got, err //nolint:wrapcheck // as the transport says it
}
