package webhook_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/webhook"
)

// TestAuthority has both fields for who signs for a server: caBundle counts,
// and the other, which names nothing, is told of.
func TestAuthority(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("value")) })) // the client is gone
	t.Cleanup(server.Close)
	with := map[string]any{"url": server.URL, "caBundle": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
		"caProvider": map[string]string{"type": "Secret", "name": "none", "key": "ca.crt"}}
	ctx, heard := providers.Listen(t.Context())
	r, err := webhook.Open(ctx, store(t, with, &conformance.References{}))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.Read(t.Context(), providers.Ref{Path: "app"}); err != nil || string(got.Bytes()) != "value" {
		t.Errorf("Read: got %q, %v", got.Bytes(), err)
	}
	if want := []string{"spec.provider.webhook.caProvider: it makes no difference: caBundle counts; remove one of them"}; !slices.Equal(heard.All(), want) {
		t.Errorf("told %q, want %q", heard.All(), want)
	}
}
