package testenv

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
)

// Registry is an OCI registry in this process: that of go-containerregistry,
// with signatures as referrers. It counts what it is asked.
type Registry struct {
	*httptest.Server
	// Username and Password are asked for, if they are not empty.
	Username, Password string

	mu       sync.Mutex
	requests []string
	handler  http.Handler
}

// StartRegistry starts a registry, on TLS unless plain. Its certificate is in
// Registry.Certificate().
func StartRegistry(t testing.TB, plain bool) *Registry {
	t.Helper()
	r := &Registry{handler: registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true))}
	if plain {
		r.Server = httptest.NewServer(r)
	} else {
		r.Server = httptest.NewTLSServer(r)
	}
	t.Cleanup(r.Close)
	return r
}

// Host is where the registry listens, as HOST:PORT.
func (r *Registry) Host() string {
	_, host, _ := strings.Cut(r.URL, "://")
	return host
}

// ServeHTTP implements http.Handler.
func (r *Registry) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	username, password, _ := q.BasicAuth()
	if r.Username != "" && (username != r.Username || password != r.Password) {
		w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	r.mu.Lock()
	r.requests = append(r.requests, q.Method+" "+q.URL.Path)
	r.mu.Unlock()
	r.handler.ServeHTTP(w, q)
}

// Requests returns what was asked since the last call.
func (r *Registry) Requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.requests
	r.requests = nil
	return all
}
