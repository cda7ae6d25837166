package aws_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
)

const (
	region    = "eu-central-1"
	secretKey = "secret-key-of-the-test"
)

// store makes the config of a store with the settings of a provider as JSON.
func store(t *testing.T, settings map[string]any, refs providers.References) providers.Config {
	t.Helper()
	text, err := json.Marshal(map[string]any{"aws": settings})
	if err != nil {
		t.Fatal(err)
	}
	var p esv1.SecretStoreProvider
	if err := json.Unmarshal(text, &p); err != nil {
		t.Fatal(err)
	}
	return providers.Config{Provider: &p, References: refs}
}

// byKey are the settings of a store with an access key in the Secret k.
func byKey() map[string]any {
	return with(map[string]any{"secretRef": map[string]any{
		"accessKeyIDSecretRef":     map[string]string{"name": "k", "key": "id"},
		"secretAccessKeySecretRef": map[string]string{"name": "k", "key": "secret"},
	}})
}

// byAccount are the settings of a store with the role of a ServiceAccount.
func byAccount(name string) map[string]any {
	return with(map[string]any{"jwt": map[string]any{"serviceAccountRef": map[string]string{"name": name}}})
}

func with(auth map[string]any) map[string]any {
	return map[string]any{"service": "SecretsManager", "region": region, "auth": auth}
}

// keyPair has an access key in the Secret k.
func keyPair(id, secret string) *conformance.References {
	refs := &conformance.References{}
	refs.Set("k", "id", id+"\n")
	refs.Set("k", "secret", secret)
	return refs
}

// serve starts a server that answers everything with h.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

// fixed answers everything with one status, error code and body.
func fixed(status int, code, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.Header().Set("Retry-After", "7")
		if code != "" {
			w.Header().Set("X-Amzn-Errortype", code)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body)) // the client is gone
	}
}
