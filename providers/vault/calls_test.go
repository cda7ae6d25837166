package vault

import (
	"net/http"
	"testing"
)

func TestCallName(t *testing.T) {
	for name, tc := range map[string]struct{ method, path, provider, call string }{
		"Read":     {http.MethodGet, "/v1/secret/data/db", "HashiCorp/Vault", "ReadSecretData"},
		"List":     {"LIST", "/v1/secret/metadata/db", "HashiCorp/Vault", "ListSecrets"},
		"ListGet":  {http.MethodGet, "/v1/secret/metadata/db?list=true", "HashiCorp/Vault", "ListSecrets"},
		"Write":    {http.MethodPut, "/v1/secret/data/db", "HashiCorp/Vault", "WriteSecretData"},
		"Delete":   {http.MethodDelete, "/v1/secret/metadata/db", "HashiCorp/Vault", "DeleteSecret"},
		"Login":    {http.MethodPut, "/v1/auth/kubernetes/login", "HashiCorp/Vault", "Login"},
		"LookUp":   {http.MethodGet, "/v1/auth/token/lookup-self", "HashiCorp/Vault", "LookupSelf"},
		"Revoke":   {http.MethodPut, "/v1/auth/token/revoke-self", "HashiCorp/Vault", "RevokeSelf"},
		"Wrapping": {http.MethodPut, "/v1/sys/wrapping/unwrap", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), tc.method, "https://vault.example.com"+tc.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if provider, call := callName(r); provider != tc.provider || call != tc.call {
				t.Errorf("got %s %s, want %s %s", provider, call, tc.provider, tc.call)
			}
		})
	}
}
