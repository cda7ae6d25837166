package azure_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockstep-dev/lockstep/reconciler/source"
	"github.com/lockstep-dev/lockstep/reconciler/source/azure"
)

// Secrets of the test: each is good in one place only.
const (
	assertion = "token-for-api://AzureADTokenExchange"
	refresh   = "refresh-token-of-the-registry"
)

// entra is the part of Microsoft Entra, and of a registry, that gives tokens.
// It is written from their documentation.
func entra(t *testing.T) azure.Clouds {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		base := "https://" + r.Host + "/" + r.PathValue("tenant")
		_, _ = fmt.Fprintf(w, `{"issuer":%q,"authorization_endpoint":%q,"token_endpoint":%q}`, base+"/v2.0", base+"/authorize", base+"/token")
	})
	mux.HandleFunc("POST /tenant/token", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("client_id") != "client" || r.FormValue("client_assertion") != assertion {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"error":"invalid_client","error_description":"`+assertion+`"}`)
			return
		}
		scope, _, _ := strings.Cut(r.FormValue("scope"), " ")
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"token_type":"Bearer","expires_in":3600,"access_token":%q}`, "access:"+scope)
	})
	mux.HandleFunc("POST /oauth2/exchange", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("grant_type") != "access_token" || r.FormValue("service") != "team.azurecr.io" ||
			r.FormValue("access_token") != "access:https://containerregistry.azure.net/.default" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = fmt.Fprintf(w, `{"refresh_token":%q}`, refresh)
	})
	s := httptest.NewTLSServer(mux)
	t.Cleanup(s.Close)
	return azure.Clouds{Authority: s.URL + "/", Registry: s.URL, HTTP: s.Client()}
}

func account(client string) *azure.Account {
	return &azure.Account{
		Name:        "team/puller",
		Annotations: map[string]string{"azure.workload.identity/tenant-id": "tenant", "azure.workload.identity/client-id": client},
		Token:       func(_ context.Context, audience string) (string, error) { return "token-for-" + audience, nil },
	}
}

func TestPasses(t *testing.T) {
	clouds := entra(t)
	for name, c := range map[string]struct {
		get     func(context.Context, source.Who, *azure.Account) (source.Pass, error)
		host    string
		account *azure.Account
		want    source.Pass
		err     string
	}{
		"a repository":              {clouds.Git, "dev.azure.com", account("client"), source.Pass{Password: "access:499b84ac-1321-427f-aa17-267ca6975798/.default"}, ""},
		"the old name":              {clouds.Git, "team.visualstudio.com", account("client"), source.Pass{Password: "access:499b84ac-1321-427f-aa17-267ca6975798/.default"}, ""},
		"a registry":                {clouds.OCI, "team.azurecr.io", account("client"), source.Pass{Username: "00000000-0000-0000-0000-000000000000", Password: refresh}, ""},
		"another host":              {clouds.Git, "dev.azure.com.example.com", account("client"), source.Pass{}, "nothing is sent to it"},
		"another port":              {clouds.Git, "dev.azure.com:8443", account("client"), source.Pass{}, "nothing is sent to it"},
		"a registry of another":     {clouds.OCI, "team.azurecr.io.example.com", account("client"), source.Pass{}, "nothing is sent to it"},
		"a registry that refuses":   {clouds.OCI, "other.azurecr.io", account("client"), source.Pass{}, "AcrPull"},
		"an identity that is not":   {clouds.Git, "dev.azure.com", account("stranger"), source.Pass{}, "no token for ServiceAccount team/puller"},
		"an account without a name": {clouds.Git, "dev.azure.com", account(""), source.Pass{}, "azure.workload.identity/client-id"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.get(t.Context(), source.Who{Provider: "azure", Host: c.host}, c.account)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), assertion) || strings.Contains(err.Error(), "access:") {
					t.Fatalf("got %v, want an error with %q and without secrets", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if left := time.Until(got.Until); left < 50*time.Minute || left > time.Hour {
				t.Errorf("it lasts for %s, want an hour", left)
			}
			got.Until = time.Time{}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}
