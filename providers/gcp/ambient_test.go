package gcp_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/gcp"
)

// TestAmbientOfTheMachine reads with the identity that the metadata service
// gives to the controller: only where that is allowed, and asked for once.
func TestAmbientOfTheMachine(t *testing.T) {
	var asked atomic.Int64
	machine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		if !strings.HasSuffix(r.URL.Path, "/token") {
			fmt.Fprint(w, "googleapis.com")
			return
		}
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"token-of-the-machine","expires_in":3600,"token_type":"Bearer"}`)
	}))
	defer machine.Close()
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(machine.URL, "http://"))
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
	t.Setenv("HOME", t.TempDir())
	r := &recorder{}
	web, host := r.start(t)
	backend := gcp.New(gcp.Endpoints{SecretManager: host, CA: pemOf(web), Ambient: gcp.Ambient()})
	config := store(t, map[string]any{"projectID": "team"}, &conformance.References{})
	if _, err := backend(t.Context(), config); !errors.Is(err, providers.ErrInvalid) || asked.Load() != 0 {
		t.Errorf("Open where the controller's identity is not allowed: got %v, and the machine was asked %d times", err, asked.Load())
	}
	config.Ambient = true
	for range 2 { // stores
		opened, err := backend(t.Context(), config)
		must(t, err)
		if _, err := opened.Read(t.Context(), providers.Ref{Path: "app", Version: "1"}); err != nil {
			t.Fatal(err)
		}
	}
	if sent := strings.Join(r.sent, "\n"); strings.Count(sent, "Bearer token-of-the-machine") != 2 || asked.Load() != 1 {
		t.Errorf("two stores: got %s, and the machine was asked %d times, want its token in both and one question", sent, asked.Load())
	}
}
