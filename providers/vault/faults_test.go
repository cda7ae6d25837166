package vault_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/vault"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

func TestFaults(t *testing.T) {
	conformance.TestFaults(t, conformance.Faulty{
		Open: func(t *testing.T, server *httptest.Server) (providers.Reader, providers.Ref, string) {
			t.Helper()
			refs := &conformance.References{}
			with := byToken(server.URL)
			delete(with, "auth") // a token is looked at when it is used, which is a request more
			with["headers"] = map[string]string{"X-Proxy": staticToken}
			r, err := vault.Open(t.Context(), store(t, with, refs))
			must(t, err)
			return r, providers.Ref{Path: "app"}, staticToken
		},
		Denied: `{"errors":["permission denied"]}`, Throttled: `{"errors":["request path rate limit quota exceeded"]}`,
		Hangs: 11 * time.Second,
	})
}

// TestLargeValue reads a value of 1 MiB and one byte from a real server: what
// a Kubernetes Secret can hold is not for a provider to say.
func TestLargeValue(t *testing.T) {
	v := server.Get(t)
	large := strings.Repeat("x", 1<<20+1)
	_, err := v.Put(t.Context(), "large/app", map[string]any{"a": large})
	must(t, err)
	r, _ := logIn(t, v, testenv.VaultRole{Name: "large", Policy: testenv.Allow("secret/data/large/*")})
	got, err := r.Read(t.Context(), providers.Ref{Path: "large/app"})
	if err != nil || len(got.Bytes()) != len(large)+len(`{"a":""}`) {
		t.Errorf("Read of 1 MiB and one byte: got %d bytes, %v", len(got.Bytes()), err)
	}
}
