package kubernetes_test

import (
	"encoding/pem"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/kubernetes"
)

func TestFaults(t *testing.T) {
	conformance.TestFaults(t, conformance.Faulty{
		Open: func(t *testing.T, server *httptest.Server) (providers.Reader, providers.Ref, string) {
			t.Helper()
			const token = "token-of-the-test"
			refs := &conformance.References{}
			refs.Set("t", "token", token)
			r, err := kubernetes.Open(t.Context(), store(t, map[string]any{
				"server": map[string]any{"url": server.URL, "caBundle": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})}, "remoteNamespace": "default",
				"auth": map[string]any{"token": map[string]any{"bearerToken": map[string]string{"name": "t", "key": "token"}}}}, refs))
			must(t, err)
			return r, providers.Ref{Path: "app"}, token
		},
		TLS:       true,
		Denied:    `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`,
		Throttled: `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"TooManyRequests","code":429}`,
		Hangs:     11 * time.Second,
	})
}
