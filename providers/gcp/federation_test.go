package gcp_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/gcp"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// configured are the settings of a store with a credential configuration in a
// ConfigMap, and others beside it.
func configured(more map[string]any) map[string]any {
	f := map[string]any{"credConfig": map[string]string{"name": "gcp", "key": "config.json"}}
	maps.Copy(f, more)
	return map[string]any{"projectID": "team", "auth": map[string]any{"workloadIdentityFederation": f}}
}

// credConfig is a credential configuration as gcloud makes it.
func credConfig(t *testing.T, source map[string]any, more map[string]any) []byte {
	t.Helper()
	c := map[string]any{"type": "external_account", "audience": pool, "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
		"token_url": "https://sts.googleapis.com/v1/token", "credential_source": source}
	maps.Copy(c, more)
	text, err := json.Marshal(c)
	must(t, err)
	return text
}

// TestCredConfig gets in with each kind of credential configuration that
// takes nothing from the controller.
func TestCredConfig(t *testing.T) {
	g, a := server.Get(t), aws.Get(t)
	canary := plant(t, g, "configured")
	refs, subject := accounts(t, nil)
	must(t, g.Principal(t.Context(), testenv.GCPPrincipal{Name: subject}))
	must(t, g.Principal(t.Context(), testenv.GCPPrincipal{Name: "impersonated@team.iam.gserviceaccount.com", ActAs: []string{subject}}))
	key, err := a.User(t.Context(), "configured")
	must(t, err)
	must(t, g.Principal(t.Context(), testenv.GCPPrincipal{Name: a.UserARN("configured")}))
	refs.Set("aws", "aws_access_key_id", key.ID)
	refs.Set("aws", "aws_secret_access_key", key.Secret)
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		jwt, err := refs.TokenFn(r.Context(), "app", []string{pool})
		if err != nil || r.Header.Get("Metadata") != "hunter2" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		if r.URL.Path == "/json" {
			jwt = fmt.Sprintf(`{"id_token":%q}`, jwt)
		}
		fmt.Fprintln(w, jwt)
	}))
	defer tokens.Close()
	at := func(path string, format map[string]string) map[string]any {
		return map[string]any{"url": tokens.URL + path, "headers": map[string]string{"Metadata": "hunter2"}, "format": format}
	}
	impersonation := map[string]any{"service_account_impersonation_url": "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/impersonated@team.iam.gserviceaccount.com:generateAccessToken"}
	app := map[string]string{"name": "app"}
	cases := map[string]struct {
		reason   string
		settings map[string]any
		config   []byte
	}{
		"Text":          {"A URL gives a token.", map[string]any{"externalTokenEndpoint": tokens.URL + "/text"}, credConfig(t, at("/text", nil), nil)},
		"JSON":          {"Or one in JSON.", map[string]any{"externalTokenEndpoint": tokens.URL + "/json"}, credConfig(t, at("/json", map[string]string{"type": "json", "subject_token_field_name": "id_token"}), nil)},
		"Impersonation": {"It may act as a service account.", map[string]any{"externalTokenEndpoint": tokens.URL + "/text"}, credConfig(t, at("/text", nil), impersonation)},
		"Account":       {"A ServiceAccount stands for the file of a Pod.", map[string]any{"serviceAccountRef": app}, credConfig(t, map[string]any{"file": "/var/run/secrets/kubernetes.io/serviceaccount/token"}, nil)},
		"Audience":      {"The store's audience counts.", map[string]any{"serviceAccountRef": app, "audience": pool}, credConfig(t, map[string]any{"file": "x"}, map[string]any{"audience": "//iam.googleapis.com/elsewhere"})},
		"AWS": {"An access key stands for the metadata service.", map[string]any{"awsSecurityCredentials": map[string]any{"region": "eu-central-1", "awsCredentialsSecretRef": map[string]string{"name": "aws"}}},
			credConfig(t, map[string]any{"environment_id": "aws1", "url": "http://169.254.169.254/latest/meta-data/iam/security-credentials"}, map[string]any{"subject_token_type": "urn:ietf:params:aws:token-type:aws4_request"})},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			refs.Authority = tc.config
			r, err := gcp.New(endpoints(g))(t.Context(), store(t, configured(tc.settings), refs))
			if err != nil {
				t.Fatalf("%s\nOpen: %v", tc.reason, err)
			}
			mustRead(t, r, providers.Ref{Path: "configured"}, canary)
		})
	}
}

// TestCredConfigRefused wants whoever may write a ConfigMap to choose neither
// what the controller reads nor where it sends tokens.
func TestCredConfigRefused(t *testing.T) {
	url := map[string]any{"url": "http://127.0.0.1:1/token"}
	app := map[string]any{"serviceAccountRef": map[string]string{"name": "app"}}
	cases := map[string]struct {
		reason   string
		settings map[string]any
		config   []byte
		names    string
	}{
		"NoConfig":      {"It is JSON.", app, []byte("hunter2"), "credConfig"},
		"OtherType":     {"Of one type.", app, []byte(`{"type":"authorized_user","refresh_token":"hunter2"}`), "external_account"},
		"File":          {"Files are the controller's.", nil, credConfig(t, map[string]any{"file": "/etc/passwd"}, nil), "serviceAccountRef"},
		"Executable":    {"Programs are not run.", app, credConfig(t, map[string]any{"executable": map[string]string{"command": "/bin/sh"}}, nil), "executable"},
		"Metadata":      {"The metadata service is the machine's.", nil, credConfig(t, map[string]any{"environment_id": "aws1"}, nil), "awsSecurityCredentials"},
		"OtherURL":      {"The store says which URL.", map[string]any{"externalTokenEndpoint": "http://127.0.0.1:2/token"}, credConfig(t, url, nil), "externalTokenEndpoint"},
		"NoURL":         {"Always.", nil, credConfig(t, url, nil), "externalTokenEndpoint"},
		"TokenURL":      {"Tokens go to Google.", app, credConfig(t, nil, map[string]any{"token_url": "https://sts.evil.example.com/v1/token"}), "token_url"},
		"Impersonation": {"So do they to act as another.", app, credConfig(t, nil, map[string]any{"service_account_impersonation_url": "https://evil.example.com/x:generateAccessToken"}), "service_account_impersonation_url"},
		"Audience":      {"A token is for a pool.", app, credConfig(t, nil, map[string]any{"audience": "https://kubernetes.default.svc"}), "audience"},
		"NoEndpoint":    {"An endpoint goes with a configuration.", map[string]any{"credConfig": nil, "externalTokenEndpoint": "http://127.0.0.1:1", "serviceAccountRef": app["serviceAccountRef"], "audience": pool}, nil, "externalTokenEndpoint"},
		"Two":           {"One is who asks.", map[string]any{"serviceAccountRef": app["serviceAccountRef"], "awsSecurityCredentials": map[string]any{"region": "eu-central-1", "awsCredentialsSecretRef": map[string]string{"name": "k"}}}, credConfig(t, nil, nil), "awsSecurityCredentials"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			refs := &conformance.References{Authority: tc.config, Accounts: map[string]map[string]string{"app": nil},
				TokenFn: func(context.Context, string, []string) (string, error) { return "token-of-the-account", nil }}
			_, err := gcp.New(gcp.Endpoints{SecretManager: "127.0.0.1:1", STS: "http://127.0.0.1:1", IAM: "http://127.0.0.1:1"})(t.Context(), store(t, configured(tc.settings), refs))
			if !errors.Is(err, providers.ErrInvalid) || !strings.Contains(err.Error(), "spec.provider.gcpsm.auth.workloadIdentityFederation") || !strings.Contains(err.Error(), tc.names) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s\nOpen: got %v, want ErrInvalid with the field and %s in it", tc.reason, err, tc.names)
			}
		})
	}
}

// TestTokenEndpoint wants what answers there to be no token of its own making,
// and what is sent there to go nowhere else.
func TestTokenEndpoint(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s was sent to whom a redirect names", r.URL.Path)
	}))
	defer elsewhere.Close()
	cases := map[string]struct {
		answer http.HandlerFunc
		want   error
	}{
		"Denied":   {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "leak", http.StatusForbidden) }, providers.ErrDenied},
		"Crash":    {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "leak", http.StatusInternalServerError) }, providers.ErrUnavailable},
		"HTML":     {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>leak") }, providers.ErrUnavailable},
		"Empty":    {func(http.ResponseWriter, *http.Request) {}, providers.ErrUnavailable},
		"Redirect": {http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect).ServeHTTP, providers.ErrUnavailable},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tokens := httptest.NewServer(tc.answer)
			defer tokens.Close()
			refs := &conformance.References{Authority: credConfig(t, map[string]any{"url": tokens.URL, "headers": map[string]string{"X-Key": "hunter2"}}, nil)}
			_, err := gcp.New(gcp.Endpoints{SecretManager: "127.0.0.1:1", STS: "http://127.0.0.1:1"})(t.Context(), store(t, configured(map[string]any{"externalTokenEndpoint": tokens.URL}), refs))
			if !errors.Is(err, tc.want) || strings.Contains(err.Error(), "leak") || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("Open: got %v, want %v without what was answered or sent", err, tc.want)
			}
		})
	}
}

// pemOf returns the certificate of a server.
func pemOf(server *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}
