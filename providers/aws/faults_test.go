package aws_test

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/aws"
	"github.com/lockstep-dev/lockstep/providers/conformance"
)

// faulty opens a store of a service, with an access key, at a server.
func faulty(service, path string) func(t *testing.T, server *httptest.Server) (providers.Reader, providers.Ref, string) {
	return func(t *testing.T, server *httptest.Server) (providers.Reader, providers.Ref, string) {
		t.Helper()
		const secret = "secret-access-key-of-the-test"
		refs := &conformance.References{}
		refs.Set("k", "id", "AKIAOFTHETEST")
		refs.Set("k", "secret", secret)
		settings := byKey()
		settings["service"] = service
		r, err := aws.New(aws.Endpoints{SecretsManager: server.URL, ParameterStore: server.URL})(t.Context(), store(t, settings, refs))
		if err != nil {
			t.Fatal(err)
		}
		return r, providers.Ref{Path: path}, secret
	}
}

func TestFaults(t *testing.T) {
	for service, path := range map[string]string{"SecretsManager": "app", "ParameterStore": "/app"} {
		t.Run(service, func(t *testing.T) {
			conformance.TestFaults(t, conformance.Faulty{
				Open:   faulty(service, path),
				Denied: `{"__type":"AccessDeniedException","Message":"User is not authorized"}`, DeniedStatus: 400,
				Throttled: `{"__type":"ThrottlingException","Message":"Rate exceeded"}`, ThrottledStatus: 400,
				Hangs: 11 * time.Second,
			})
		})
	}
}
