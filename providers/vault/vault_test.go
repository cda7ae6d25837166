package vault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/aws"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/gcp"
	"github.com/lockstep-dev/lockstep/providers/vault"
)

const staticToken = "s.static-token-of-the-test"

// open opens a store with a token at server.
func open(t *testing.T, server string) providers.Reader {
	t.Helper()
	refs := &conformance.References{}
	refs.Set("t", "t", staticToken+"\n")
	r, err := vault.Open(t.Context(), store(t, byToken(server), refs))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReadAnswers(t *testing.T) {
	const leak = "leaked-by-the-server"
	cases := map[string]struct {
		reason string
		status int
		body   string
		want   error // nil: the value is {"a":"b"}
		text   string
	}{
		"Value":      {"What data holds is the value.", 200, kv(`{"a":"b"}`), nil, ""},
		"Missing":    {"A 404 of Vault's without errors is a secret that is not there.", 404, `{"errors":[]}`, providers.ErrNotFound, `"secret"`},
		"Deleted":    {"A deleted version is not there.", 404, `{"data":{"data":null,"metadata":{"deletion_time":"x"}}}`, providers.ErrNotFound, ""},
		"NullData":   {"Nor is null.", 200, kv(`null`), providers.ErrNotFound, ""},
		"NoEngine":   {"A missing engine is no missing secret.", 404, `{"errors":["no handler for route ` + leak + `"]}`, providers.ErrDenied, "spec.provider.vault.path"},
		"HTML404":    {"A proxy cannot say that a secret is gone.", 404, `<html>` + leak, providers.ErrUnavailable, "is not Vault"},
		"HTML200":    {"Nor what its value is.", 200, `<html>` + leak, providers.ErrUnavailable, "is not Vault"},
		"Denied":     {"A right that is missing is named by its path.", 403, `{"errors":["` + leak + `"]}`, providers.ErrDenied, "secret/data/app"},
		"Sealed":     {"A sealed Vault says what to do.", 503, `{"errors":["Vault is sealed"]}`, providers.ErrUnavailable, "is sealed: unseal it"},
		"Standby":    {"Any other 503 is passing.", 503, `{"errors":["` + leak + `"]}`, providers.ErrUnavailable, "status 503"},
		"Crash":      {"So is a 500.", 500, leak, providers.ErrUnavailable, "status 500"},
		"Upgrading":  {"An engine that sets itself up answers 400.", 400, `{"errors":["Upgrading from non-versioned to versioned data. ` + leak + `"]}`, providers.ErrUnavailable, "setting up"},
		"BadRequest": {"Any other 400 will stay.", 400, `{"errors":["` + leak + `"]}`, providers.ErrInvalid, "status 400"},
		"Throttled":  {"A quota is not a failure.", 429, `{"errors":["` + leak + `"]}`, providers.ErrThrottled, ""},
		"Version1":   {"The wrong version of the engine is named.", 200, `{"data":{"a":"` + leak + `"}}`, providers.ErrInvalid, "spec.provider.vault.version to v1"},
		"Version2":   {"Either way.", 404, `{"data":null,"warnings":["Invalid path for a versioned K/V secrets engine"]}`, providers.ErrInvalid, "spec.provider.vault.version to v2"},
		"Redirect":   {"A redirect is not followed.", 307, ``, providers.ErrUnavailable, "spec.provider.vault.server"},
		"TooLarge":   {"There is a limit to what is read.", 200, `{"data":"` + strings.Repeat("x", 9<<20) + `"}`, providers.ErrInvalid, "8 MiB"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			server := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/v1/auth/token/lookup-self" {
					fixed(200, `{"data":{}}`)(w, r)
					return
				}
				w.Header().Set("Retry-After", "7")
				fixed(tc.status, tc.body)(w, r)
			})
			v, err := open(t, server.URL).Read(t.Context(), providers.Ref{Path: "app"})
			if tc.want == nil {
				if err != nil || string(v.Bytes()) != `{"a":"b"}` {
					t.Errorf("%s\nRead: got %s, %v", tc.reason, v.Bytes(), err)
				}
				return
			}
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("%s\nRead: got %v, want %q with %q in it", tc.reason, err, tc.want, tc.text)
			}
			if err != nil && (strings.Contains(err.Error(), leak) || strings.Contains(err.Error(), staticToken)) {
				t.Errorf("Read: %v repeats what the server said, or the token", err)
			}
			var wait providers.Throttled
			if errors.As(err, &wait) && wait.After != 7*time.Second {
				t.Errorf("Throttled: got After %s, want 7s", wait.After)
			}
		})
	}
}

func TestReadSends(t *testing.T) {
	for name, value := range map[string]string{
		"VAULT_TOKEN": "from-the-environment", "VAULT_ADDR": "http://127.0.0.1:1", "VAULT_AGENT_ADDR": "http://127.0.0.1:1", "VAULT_NAMESPACE": "from-the-environment",
		"VAULT_HEADERS": `{"X-Team":"from-the-environment"}`, "VAULT_WRAP_TTL": "1m", "VAULT_MFA": "a:b", "VAULT_RATE_LIMIT": "0.001:1", "VAULT_CLIENT_TIMEOUT": "1ns",
		"VAULT_PROXY_ADDR": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1",
	} {
		t.Setenv(name, value)
	}
	var got *http.Request
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Clone(context.WithoutCancel(r.Context()))
		fixed(200, kv(`{}`))(w, r)
	})
	refs := &conformance.References{}
	refs.Set("t", "t", staticToken)
	settings := byToken(server.URL + "/below/")
	settings["namespace"] = "team-a"
	r, err := vault.Open(t.Context(), store(t, settings, refs))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(t.Context(), providers.Ref{Path: "a b?c", Version: "2"}); err != nil {
		t.Fatal(err)
	}
	if want := "/below/v1/secret/data/a%20b%3Fc?version=2"; got.RequestURI != want {
		t.Errorf("URL: got %s, want %s", got.RequestURI, want)
	}
	for name, want := range map[string]string{"X-Vault-Token": staticToken, "X-Vault-Namespace": "team-a", "X-Vault-Request": "true", "X-Team": "", "X-Vault-Wrap-Ttl": "", "X-Vault-Mfa": ""} {
		if got := got.Header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestRedirectDoesNotLeakTheToken(t *testing.T) {
	elsewhere := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s was sent to whom a redirect names, with token %q", r.Method, r.URL.Path, r.Header.Get("X-Vault-Token"))
	})
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, status) })
		if _, err := open(t, server.URL).Read(t.Context(), providers.Ref{Path: "app"}); !errors.Is(err, providers.ErrUnavailable) {
			t.Errorf("Read, redirected with %d: got %v, want ErrUnavailable", status, err)
		}
	}
}

func TestReadUnreached(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	secure := httptest.NewTLSServer(nil)
	secure.Config.ErrorLog = nil
	t.Cleanup(secure.Close)
	plain := serve(t, fixed(200, kv(`{}`)))
	cases := map[string]struct{ server, text string }{
		"Closed":    {closed.URL, "no connection"},
		"Untrusted": {secure.URL, "set caBundle or caProvider"},
		"NoTLS":     {strings.Replace(plain.URL, "http:", "https:", 1), "does not speak TLS"},
		"NoName":    {"http://vault.invalid", "name cannot be resolved"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := open(t, tc.server).Read(t.Context(), providers.Ref{Path: "app"})
			if !errors.Is(err, providers.ErrUnavailable) || !strings.Contains(err.Error(), tc.text) || !strings.Contains(err.Error(), tc.server) {
				t.Errorf("Read: got %v, want ErrUnavailable with %q and the address in it", err, tc.text)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	ref := map[string]string{"name": "t", "key": "t"}
	cases := map[string]struct {
		reason string
		change map[string]any // of the settings
		field  string
	}{
		"NoScheme":     {"An address is a URL.", map[string]any{"server": "vault:8200"}, "server"},
		"User":         {"A URL holds no credentials.", map[string]any{"server": "https://u:p@vault"}, "server"},
		"TLS":          {"A certificate needs its key.", map[string]any{"tls": map[string]any{"certSecretRef": ref}}, "tls"},
		"TLSPair":      {"A certificate is PEM.", map[string]any{"tls": map[string]any{"certSecretRef": ref, "keySecretRef": ref}}, "tls"},
		"HeaderToken":  {"A token is no header.", map[string]any{"headers": map[string]string{"x-vault-token": "b"}}, "headers"},
		"HeaderName":   {"A header is one line.", map[string]any{"headers": map[string]string{"a": "b\r\nc: d"}}, "headers"},
		"Version":      {"There are two versions.", map[string]any{"version": "v3"}, "version"},
		"Bundle":       {"A bundle has certificates.", map[string]any{"caBundle": "bm9uZQ=="}, "caBundle"},
		"LDAP":         {"A password is needed.", map[string]any{"auth": map[string]any{"ldap": map[string]any{"username": "u"}}}, "auth.ldap.secretRef"},
		"JWT":          {"A token is needed.", map[string]any{"auth": map[string]any{"jwt": map[string]any{"role": "r"}}}, "auth.jwt"},
		"Cert":         {"A certificate is needed.", map[string]any{"auth": map[string]any{"cert": map[string]any{}}}, "auth.cert"},
		"IAM":          {"The controller's own identity is not for every store.", map[string]any{"auth": map[string]any{"iam": map[string]any{"vaultRole": "r"}}}, "auth.iam: invalid"},
		"IAMRegion":    {"A region is no part of another URL.", map[string]any{"auth": map[string]any{"iam": map[string]any{"vaultRole": "r", "region": "x/#"}}}, "auth.iam.region"},
		"IAMKey":       {"A key is named by its field.", map[string]any{"auth": map[string]any{"iam": map[string]any{"vaultRole": "r", "secretRef": map[string]any{}}}}, "auth.iam.secretRef.accessKeyIDSecretRef"},
		"IAMBoth":      {"One identity is enough.", map[string]any{"auth": map[string]any{"iam": map[string]any{"vaultRole": "r", "secretRef": map[string]any{}, "jwt": map[string]any{}}}}, "auth.iam"},
		"UserPass":     {"A user is no path.", map[string]any{"auth": map[string]any{"userPass": map[string]any{"username": "../../sys", "secretRef": ref}}}, "auth.userPass.username"},
		"GCP":          {"The controller's own identity is not for every store.", map[string]any{"auth": map[string]any{"gcp": map[string]any{"role": "r"}}}, "auth.gcp: invalid"},
		"GCPKey":       {"A key is JSON.", map[string]any{"auth": map[string]any{"gcp": map[string]any{"role": "r", "secretRef": map[string]any{"secretAccessKeySecretRef": ref}}}}, "auth.gcp.secretRef.secretAccessKeySecretRef"},
		"GCPCluster":   {"A workload identity is of a cluster.", map[string]any{"auth": map[string]any{"gcp": map[string]any{"role": "r", "workloadIdentity": map[string]any{"serviceAccountRef": map[string]any{"name": "a"}}}}}, "auth.gcp.workloadIdentity.cluster"},
		"GCPAccount":   {"A ServiceAccount alone is no identity of Google.", map[string]any{"auth": map[string]any{"gcp": map[string]any{"role": "r", "serviceAccountRef": map[string]any{"name": "a"}}}}, "auth.gcp.serviceAccountRef"},
		"NoMethod":     {"An empty auth is a mistake.", map[string]any{"auth": map[string]any{}}, "auth"},
		"NoRoleID":     {"AppRole needs a role.", map[string]any{"auth": map[string]any{"appRole": map[string]any{"secretRef": ref}}}, "auth.appRole"},
		"OwnIdentity":  {"The controller's own token is never sent.", map[string]any{"auth": map[string]any{"kubernetes": map[string]any{"role": "r"}}}, "auth.kubernetes"},
		"NoSuchSecret": {"What is missing is named by the field that refers to it.", map[string]any{"auth": map[string]any{"tokenSecretRef": map[string]string{"name": "none"}}}, "auth.tokenSecretRef"},
		"EmptyToken":   {"White space is no token.", map[string]any{"auth": map[string]any{"tokenSecretRef": map[string]string{"name": "empty", "key": "t"}}}, "auth.tokenSecretRef"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			refs := &conformance.References{}
			refs.Set("t", "t", staticToken)
			refs.Set("empty", "t", " \n")
			settings := byToken("http://127.0.0.1:1")
			maps.Copy(settings, tc.change)
			clouds := vault.Clouds{AWS: aws.Endpoints{}.Identity, GCP: gcp.Endpoints{}.Login}
			_, err := vault.New(clouds)(t.Context(), store(t, settings, refs))
			if !errors.Is(err, providers.ErrInvalid) || !strings.Contains(err.Error(), "spec.provider.vault."+tc.field) {
				t.Errorf("%s\nOpen: got %v, want ErrInvalid with spec.provider.vault.%s in it", tc.reason, err, tc.field)
			}
		})
	}
}

// approle answers logins with a new token each time, and reads with that last
// given only.
type approle struct {
	mu    sync.Mutex
	ttl   int
	given int
	hold  chan struct{} // logins wait for it to be closed, if it is not nil
}

func (a *approle) token() string { return fmt.Sprintf("s.token-%d", a.given) }

func (a *approle) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/v1/auth/approle/login" {
		if a.hold != nil {
			<-a.hold
		}
		body, _ := io.ReadAll(r.Body)
		if string(body) != `{"role_id":"role","secret_id":"secret"}` {
			fixed(400, `{"errors":["invalid role or secret ID"]}`)(w, r)
			return
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.given++
		fixed(200, fmt.Sprintf(`{"auth":{"client_token":%q,"lease_duration":%d}}`, a.token(), a.ttl))(w, r)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.Header.Get("X-Vault-Token") != a.token() {
		fixed(403, `{"errors":["permission denied"]}`)(w, r)
		return
	}
	fixed(200, kv(`{"a":"b"}`))(w, r)
}

// openAppRole opens a store with an AppRole at a.
func openAppRole(t *testing.T, a *approle) (providers.Reader, *answers) {
	t.Helper()
	server := serve(t, a.ServeHTTP)
	refs := &conformance.References{}
	refs.Set("r", "id", "role")
	refs.Set("s", "id", "secret\n")
	settings := byToken(server.URL)
	settings["auth"] = map[string]any{"appRole": map[string]any{
		"roleRef": map[string]string{"name": "r", "key": "id"}, "secretRef": map[string]string{"name": "s", "key": "id"}}}
	r, err := vault.Open(t.Context(), store(t, settings, refs))
	if err != nil {
		t.Fatal(err)
	}
	return r, server
}

const login, lookup, read = "PUT /v1/auth/approle/login", "GET /v1/auth/token/lookup-self", "GET /v1/secret/data/app"

func TestOneLoginForManyReads(t *testing.T) {
	r, server := openAppRole(t, &approle{ttl: 3600})
	for range 10 {
		if _, err := r.Read(t.Context(), providers.Ref{Path: "app"}); err != nil {
			t.Fatal(err)
		}
	}
	if l, n := server.count(login), server.count(read); l != 1 || n != 10 {
		t.Errorf("10 reads: got %d logins and %d reads, want 1 and 10", l, n)
	}
}

func TestLoginAgainBeforeTheTokenExpires(t *testing.T) {
	r, server := openAppRole(t, &approle{ttl: 1})
	deadline := time.Now().Add(1300 * time.Millisecond)
	for time.Now().Before(deadline) {
		if _, err := r.Read(t.Context(), providers.Ref{Path: "app"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if l, n := server.count(login), server.count(lookup); l < 2 || l > 3 || n != 0 {
		t.Errorf("reads for 1.3 s with a token of 1 s: got %d logins and %d tokens looked up, want 2 or 3, and 0", l, n)
	}
}

func TestLoginOnceWhenTheTokenIsRevoked(t *testing.T) {
	a := &approle{ttl: 3600}
	r, server := openAppRole(t, a)
	a.mu.Lock()
	a.given = 100 // as if another had logged in: the token of r is no longer good
	a.mu.Unlock()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := r.Read(t.Context(), providers.Ref{Path: "app"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if l := server.count(login); l != 2 {
		t.Errorf("20 reads after the token was revoked: got %d logins in all, want 2", l)
	}
}

func TestCancelledReadDoesNotEndTheLoginOfOthers(t *testing.T) {
	a := &approle{ttl: 3600}
	r, server := openAppRole(t, a)
	a.mu.Lock()
	a.given, a.hold = 100, make(chan struct{})
	a.mu.Unlock()
	impatient, cancel := context.WithCancel(t.Context())
	gaveUp, read := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := r.Read(impatient, providers.Ref{Path: "app"})
		gaveUp <- err
	}()
	for server.count(login) < 2 {
		time.Sleep(time.Millisecond)
	}
	go func() {
		_, err := r.Read(t.Context(), providers.Ref{Path: "app"})
		read <- err
	}()
	cancel()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) {
		t.Errorf("Read that was cancelled: got %v, want context.Canceled", err)
	}
	close(a.hold)
	if err := <-read; err != nil {
		t.Errorf("Read that was not: %v", err)
	}
}

func TestStaticTokenIsReadAgain(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Vault-Token") != "new" {
			fixed(403, `{"errors":["permission denied"]}`)(w, r)
			return
		}
		fixed(200, kv(`{"a":"b"}`))(w, r)
	})
	refs := &conformance.References{}
	refs.Set("t", "t", "old")
	r, err := vault.Open(t.Context(), store(t, byToken(server.URL), refs))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(t.Context(), providers.Ref{Path: "app"}); !errors.Is(err, providers.ErrDenied) || !strings.Contains(err.Error(), "tokenSecretRef") {
		t.Errorf("Read with a token that has expired: got %v, want ErrDenied with tokenSecretRef in it", err)
	}
	refs.Set("t", "t", "new")
	if _, err := r.Read(t.Context(), providers.Ref{Path: "app"}); err != nil {
		t.Errorf("Read after the Secret has a new token: %v", err)
	}
}

func TestTokenOfAServiceAccount(t *testing.T) {
	cases := map[string]struct {
		reason   string
		listed   []string
		audience string
	}{
		"Default": {"A token is never for the API server unless the store says so.", nil, "vault"},
		"Listed":  {"The store may say for whom.", []string{"https://vault.example.com"}, "https://vault.example.com"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			server := serve(t, fixed(403, `{"errors":["permission denied"]}`))
			refs := &conformance.References{TokenFn: func(context.Context, string, []string) (string, error) { return "jwt-of-the-account", nil }}
			settings := byToken(server.URL)
			settings["auth"] = map[string]any{"kubernetes": map[string]any{"mountPath": "k8s", "role": "reader",
				"serviceAccountRef": map[string]any{"name": "app", "audiences": tc.listed}}}
			_, err := vault.Open(t.Context(), store(t, settings, refs))
			if got := refs.Audiences(); len(got) != 1 || got[0] != tc.audience {
				t.Errorf("%s\naudiences: got %q, want %q", tc.reason, got, tc.audience)
			}
			for _, part := range []string{`"app"`, `"reader"`, "auth/k8s", tc.audience} {
				if !errors.Is(err, providers.ErrDenied) || !strings.Contains(err.Error(), part) {
					t.Errorf("Open: got %v, want ErrDenied with %q in it", err, part)
				}
			}
			if strings.Contains(fmt.Sprint(err), "jwt-of-the-account") {
				t.Errorf("Open: %v holds the token", err)
			}
		})
	}
}
