package vault_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// references answers from maps.
type references struct {
	mu        sync.Mutex
	secrets   map[string]string // by name/key
	ca        []byte
	token     func(account string, audiences []string) (string, error)
	audiences []string // that the last token was for
}

func (r *references) Secret(_ context.Context, ref esv1.SecretKeySelector) (providers.Value, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok := r.secrets[ref.Name+"/"+ref.Key]
	if !ok {
		return providers.Value{}, fmt.Errorf("%w: Secret %s has no key %s", providers.ErrInvalid, ref.Name, ref.Key)
	}
	return providers.NewValue([]byte(v)), nil
}

func (r *references) set(name, value string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.secrets == nil {
		r.secrets = map[string]string{}
	}
	r.secrets[name] = value
}

func (r *references) CA(context.Context, esv1.CAProvider) ([]byte, error) {
	if r.ca == nil {
		return nil, errors.New("no CA")
	}
	return slices.Clone(r.ca), nil
}

func (r *references) Token(_ context.Context, ref esv1.ServiceAccountSelector, audiences []string) (providers.Value, time.Time, error) {
	r.mu.Lock()
	r.audiences = audiences
	r.mu.Unlock()
	if r.token == nil {
		return providers.Value{}, time.Time{}, errors.New("no token")
	}
	token, err := r.token(ref.Name, audiences)
	return providers.NewValue([]byte(token)), time.Now().Add(time.Hour), err
}

func (r *references) Annotations(context.Context, esv1.ServiceAccountSelector) (map[string]string, error) {
	return nil, errors.New("no annotations")
}

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
