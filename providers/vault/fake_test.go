package vault_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// answers is a server whose requests a test decides on. It counts them by
// method and path.
type answers struct {
	*httptest.Server

	mu     sync.Mutex
	counts map[string]int
}

// serve starts a server. h may be called by many goroutines.
func serve(t *testing.T, h http.HandlerFunc) *answers {
	t.Helper()
	a := &answers{counts: map[string]int{}}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.counts[r.Method+" "+r.URL.Path]++
		a.mu.Unlock()
		h(w, r)
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *answers) count(operation string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.counts[operation]
}

// fixed answers everything with one status and body.
func fixed(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body)) // the client is gone
	}
}

// kv is the answer of a KV engine of version 2.
func kv(data string) string {
	return `{"request_id":"r","data":{"data":` + data + `,"metadata":{"version":1}}}`
}

// store makes the config of a store with the settings of a provider as JSON.
func store(t *testing.T, settings map[string]any, refs providers.References) providers.Config {
	t.Helper()
	text, err := json.Marshal(map[string]any{"vault": settings})
	if err != nil {
		t.Fatal(err)
	}
	var p esv1.SecretStoreProvider
	if err := json.Unmarshal(text, &p); err != nil {
		t.Fatal(err)
	}
	return providers.Config{Provider: &p, References: refs}
}

// byToken are the settings of a store with a token from the Secret t, key t.
func byToken(server string) map[string]any {
	return map[string]any{"server": server, "path": "secret", "auth": map[string]any{"tokenSecretRef": map[string]string{"name": "t", "key": "t"}}}
}

// relay sends a request on to a real server, and its answer back.
func relay(t *testing.T, v *testenv.Vault, w http.ResponseWriter, r *http.Request) {
	t.Helper()
	onward, err := http.NewRequestWithContext(r.Context(), r.Method, v.Address()+r.URL.RequestURI(), r.Body)
	must(t, err)
	onward.Header, onward.ContentLength = r.Header, r.ContentLength
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(v.CA)
	web := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	defer web.CloseIdleConnections()
	answer, err := web.Do(onward)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer answer.Body.Close()
	w.WriteHeader(answer.StatusCode)
	_, _ = io.Copy(w, answer.Body) // the client is gone
}
