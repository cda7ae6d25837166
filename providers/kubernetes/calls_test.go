package kubernetes

import (
	"net/http"
	"testing"
)

func TestCallName(t *testing.T) {
	const secrets = "/api/v1/namespaces/apps/secrets"
	for name, tc := range map[string]struct{ method, path, want string }{
		"Get":    {http.MethodGet, secrets + "/db", "GetSecret"},
		"List":   {http.MethodGet, secrets, "ListSecrets"},
		"Create": {http.MethodPost, secrets, "CreateSecret"},
		"Update": {http.MethodPut, secrets + "/db", "UpdateSecret"},
		"Delete": {http.MethodDelete, secrets + "/db", "DeleteSecret"},
		"Rules":  {http.MethodPost, "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", "CreateSelfSubjectRulesReview"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), tc.method, "https://api.example.com"+tc.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if provider, got := callName(r); provider != "Kubernetes" || got != tc.want {
				t.Errorf("got %s %s, want %s", provider, got, tc.want)
			}
		})
	}
}
