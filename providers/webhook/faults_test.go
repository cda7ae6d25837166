package webhook_test

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/webhook"
)

func TestFaults(t *testing.T) {
	conformance.TestFaults(t, conformance.Faulty{
		Open: func(t *testing.T, server *httptest.Server) (providers.Reader, providers.Ref, string) {
			t.Helper()
			refs := &conformance.References{}
			refs.Set("t", "token", token)
			r, err := webhook.Open(t.Context(), store(t, map[string]any{
				"url": server.URL + "/{{ .remoteRef.key }}", "result": map[string]string{"jsonPath": "$.items[0].value"}, "timeout": "2s",
				"headers": map[string]string{"Authorization": "Bearer {{ .t.token }}"},
				"secrets": []map[string]any{{"name": "t", "secretRef": map[string]string{"name": "t", "key": "token"}}}}, refs))
			if err != nil {
				t.Fatal(err)
			}
			return r, providers.Ref{Path: "app"}, token
		},
		Any404: true, Hangs: 3 * time.Second,
	})
}
