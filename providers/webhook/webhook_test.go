package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/webhook"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

const token = "token-of-the-webhook"

// service is a small store of secrets that speaks HTTP.
type service struct {
	mu   sync.Mutex
	data map[string][]string // versions by key
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, version := r.URL.Query().Get("key"), r.URL.Query().Get("version")
	versions := s.data[key]
	n := len(versions)
	if version != "" {
		n, _ = strconv.Atoi(version) // 0, which there is not
	}
	switch {
	case r.Header.Get("Authorization") != "Bearer "+token:
		w.WriteHeader(http.StatusUnauthorized)
	case strings.HasPrefix(key, "elsewhere/"):
		w.WriteHeader(http.StatusForbidden)
	case n < 1 || n > len(versions):
		http.Error(w, `{"error":"none"}`, http.StatusNotFound)
	default:
		fmt.Fprintf(w, `{"items":[{"value":%s}]}`, versions[n-1])
	}
}

// store makes the config of a store with the settings of a provider as JSON.
func store(t *testing.T, settings map[string]any, refs providers.References) providers.Config {
	t.Helper()
	text, err := json.Marshal(map[string]any{"webhook": settings})
	if err != nil {
		t.Fatal(err)
	}
	var p esv1.SecretStoreProvider
	if err := json.Unmarshal(text, &p); err != nil {
		t.Fatal(err)
	}
	return providers.Config{Provider: &p, References: refs}
}

// settings are those of a store whose server is at url, with a token.
func settings(url string) map[string]any {
	return map[string]any{
		"url": url + "/v1?key={{ .remoteRef.key }}&version={{ .remoteRef.version }}", "headers": map[string]string{"Authorization": "Bearer {{ .auth.token }}"},
		"secrets": []map[string]any{{"name": "auth", "secretRef": map[string]string{"name": "s", "key": "token"}}},
	}
}

func references() *conformance.References {
	refs := &conformance.References{}
	refs.Set("s", "token", token+"\n")
	return refs
}

func TestConformance(t *testing.T) {
	conformance.Test(t, func(t *testing.T) conformance.Backend {
		t.Helper()
		s := &service{data: map[string][]string{}}
		server := httptest.NewServer(s)
		t.Cleanup(server.Close)
		with := settings(server.URL)
		with["result"] = map[string]string{"jsonPath": "$.items[0]['value']"}
		r, err := webhook.Open(t.Context(), store(t, with, references()))
		if err != nil {
			t.Fatal(err)
		}
		return conformance.Backend{Reader: r, MissingVersion: "1000", Denied: "elsewhere/denied", Credentials: []string{token},
			Put: func(_ context.Context, path, object string) (string, error) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.data[path] = append(s.data[path], object)
				return strconv.Itoa(len(s.data[path])), nil
			}}
	})
}

func TestAnswers(t *testing.T) {
	canary := testenv.NewCanary(t)
	leak := canary.Value()
	cases := map[string]struct {
		reason string
		status int
		kind   string
		body   string
		path   string
		want   error // nil: the value is "value"
		value  string
	}{
		"Text":       {"Without a path, the value is the whole answer.", 200, "text/plain", "value", "", nil, "value"},
		"String":     {"A path leads to text.", 200, "application/json", `{"a":{"b":["x","value"]}}`, "$.a.b[1]", nil, "value"},
		"Object":     {"Or to an object.", 200, "application/json", `{"a":{"n":9007199254740993,"t":"<"}}`, "$.a", nil, `{"n":9007199254740993,"t":"<"}`},
		"NoSuchPath": {"What is missing in an answer is no missing secret.", 200, "application/json", `{"a":"` + leak + `"}`, "$.b", providers.ErrUnavailable, ""},
		"Null":       {"Nor is null.", 200, "application/json", `{"a":null}`, "$.a", providers.ErrUnavailable, ""},
		"NoObject":   {"Text has no keys.", 200, "application/json", `"` + leak + `"`, "$.a", providers.ErrUnavailable, ""},
		"NoJSON":     {"Nor what is no JSON.", 200, "application/json", `{"a":"` + leak, "$.a", providers.ErrUnavailable, ""},
		"HTML":       {"A web page is no value.", 200, "text/html; charset=utf-8", "<html>" + leak, "", providers.ErrUnavailable, ""},
		"Empty":      {"Nor is nothing.", 200, "text/plain", "", "", providers.ErrUnavailable, ""},
		"NoContent":  {"In any form.", 204, "", "", "", providers.ErrUnavailable, ""},
		"NotFound":   {"A service says what it does not have.", 404, "application/json", `{"error":"` + leak + `"}`, "", providers.ErrNotFound, ""},
		"ProxyPage":  {"A proxy cannot.", 404, "text/html", leak, "", providers.ErrUnavailable, ""},
		"Denied":     {"A right is missing.", 403, "text/plain", leak, "", providers.ErrDenied, ""},
		"Login":      {"Or credentials.", 401, "text/plain", leak, "", providers.ErrDenied, ""},
		"Throttled":  {"A limit is no failure.", 429, "text/plain", leak, "", providers.ErrThrottled, ""},
		"Bad":        {"A request can be wrong.", 400, "text/plain", leak, "", providers.ErrInvalid, ""},
		"Crash":      {"A crash passes.", 500, "text/plain", leak, "", providers.ErrUnavailable, ""},
		"TooLarge":   {"There is a limit.", 200, "text/plain", strings.Repeat("x", 3<<20), "", providers.ErrInvalid, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tc.kind)
				w.Header().Set("Retry-After", "7")
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body) // the client may be gone
			}))
			defer server.Close()
			with := settings(server.URL)
			with["result"] = map[string]string{"jsonPath": tc.path}
			r, err := webhook.Open(t.Context(), store(t, with, references()))
			if err != nil {
				t.Fatal(err)
			}
			v, err := r.Read(t.Context(), providers.Ref{Path: "app"})
			if !errors.Is(err, tc.want) || string(v.Bytes()) != tc.value {
				t.Errorf("%s\nRead: got %q, %v, want %q, %v", tc.reason, v.Bytes(), err, tc.value, tc.want)
			}
			if err != nil && (strings.Contains(err.Error(), leak) || strings.Contains(err.Error(), token)) {
				t.Errorf("%s\nRead: an error holds a value or a credential", tc.reason)
			}
			if wait, ok := errors.AsType[providers.Throttled](err); errors.Is(tc.want, providers.ErrThrottled) && (!ok || wait.After != 7*time.Second) {
				t.Errorf("%s\nRead: got a wait of %s, want 7s", tc.reason, wait.After)
			}
		})
	}
}

// TestSends shows what becomes of the templates, also of keys that try to
// become another part of the request.
func TestSends(t *testing.T) {
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // an error fails the test below
		got = r.Method + " " + r.URL.EscapedPath() + " " + r.Header.Get("X-Key") + " " + string(body)
		_, _ = io.WriteString(w, "value") // the client may be gone
	}))
	defer server.Close()
	with := settings(server.URL)
	with["url"], with["method"] = server.URL+"/secrets/{{ .remoteRef.key }}", "post"
	with["headers"] = map[string]string{"X-Key": "{{ .auth.token | b64enc }}"}
	with["body"] = `{"key":{{ .remoteRef.key | toJson }}{{ if .remoteRef.version }},"v":1{{ end }}}`
	r, err := webhook.Open(t.Context(), store(t, with, references()))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"a/b":           `POST /secrets/a%2Fb dG9rZW4tb2YtdGhlLXdlYmhvb2s= {"key":"a/b"}`,
		"../x?y=1#z":    `POST /secrets/..%2Fx%3Fy%3D1%23z dG9rZW4tb2YtdGhlLXdlYmhvb2s= {"key":"../x?y=1#z"}`,
		`"},"k":{"x":"`: `POST /secrets/%22%7D%2C%22k%22%3A%7B%22x%22%3A%22 dG9rZW4tb2YtdGhlLXdlYmhvb2s= {"key":"\"},\"k\":{\"x\":\""}`,
	} {
		if _, err := r.Read(t.Context(), providers.Ref{Path: key}); err != nil || got != want {
			t.Errorf("Read of %q: got %s, %v, want %s", key, got, err, want)
		}
	}
	if _, err := r.Read(t.Context(), providers.Ref{Path: ".."}); !errors.Is(err, providers.ErrInvalid) {
		t.Errorf("Read of ..: got %v, want ErrInvalid", err)
	}
}

// TestCredentialsStay tries to make the token leave its server.
func TestCredentialsStay(t *testing.T) {
	reached := ""
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		reached += r.Header.Get("Authorization") + r.URL.String()
	}))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := httptest.NewServer(http.RedirectHandler(other.URL, status))
		r, err := webhook.Open(t.Context(), store(t, settings(server.URL), references()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Read(t.Context(), providers.Ref{Path: "app"}); !errors.Is(err, providers.ErrUnavailable) || !strings.Contains(err.Error(), "redirect") {
			t.Errorf("Read that is redirected with %d: got %v, want ErrUnavailable that says so", status, err)
		}
		server.Close()
	}
	if reached != "" {
		t.Error("a redirect was followed")
	}
	r, err := webhook.Open(t.Context(), store(t, settings("http://169.254.169.254"), references()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(t.Context(), providers.Ref{Path: "app"}); !errors.Is(err, providers.ErrUnavailable) || !strings.Contains(err.Error(), "link-local") {
		t.Errorf("Read from the metadata service: got %v, want ErrUnavailable that says why", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	cases := map[string]struct {
		reason string
		change map[string]any
		field  string
	}{
		"NoURL":        {"A URL is needed.", map[string]any{"url": ""}, "url"},
		"HostTemplate": {"A host is no template.", map[string]any{"url": "https://{{ .remoteRef.key }}/x"}, "url"},
		"PortTemplate": {"Nor is a port.", map[string]any{"url": "https://a.example.com:{{ .remoteRef.key }}"}, "url"},
		"User":         {"A URL holds no credentials.", map[string]any{"url": "https://u:p@a.example.com/"}, "url"},
		"File":         {"There are two schemes.", map[string]any{"url": "file:///etc/passwd"}, "url"},
		"NTLM":         {"A user has a name.", map[string]any{"headers": nil, "auth": map[string]any{"ntlm": map[string]any{}}}, "auth.ntlm.usernameSecret"},
		"NTLMHeader":   {"There is one way to log in.", map[string]any{"auth": map[string]any{"ntlm": map[string]any{}}}, "headers.Authorization"},
		"NoAuth":       {"A way to log in is named.", map[string]any{"auth": map[string]any{}}, "auth"},
		"Method":       {"A read deletes nothing.", map[string]any{"method": "DELETE"}, "method"},
		"Loop":         {"A template has no loop.", map[string]any{"body": `{{ range 1000000000 }}x{{ end }}`}, "body"},
		"Printf":       {"Nor a function that can run for long.", map[string]any{"body": `{{ printf "%1000000000d" 1 }}`}, "body"},
		"Define":       {"Nor others to call.", map[string]any{"body": `{{ define "x" }}{{ end }}{{ template "x" }}`}, "body"},
		"Property":     {"What a Read does not know is named.", map[string]any{"url": "https://a.example.com/{{ .remoteRef.property }}"}, "url"},
		"Header":       {"A header has a name.", map[string]any{"headers": map[string]string{"a b": "c"}}, "headers"},
		"JSONPath":     {"A path leads to one value.", map[string]any{"result": map[string]string{"jsonPath": "$..password"}}, "result.jsonPath"},
		"NoSecret":     {"What is missing is named.", map[string]any{"secrets": []map[string]any{{"name": "a", "secretRef": map[string]string{"name": "none", "key": "k"}}}}, "secrets[0]"},
		"Bundle":       {"A bundle has certificates.", map[string]any{"caBundle": "bm9uZQ=="}, "caBundle"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			with := settings("https://a.example.com")
			maps.Copy(with, tc.change)
			_, err := webhook.Open(t.Context(), store(t, with, references()))
			if !errors.Is(err, providers.ErrInvalid) || !strings.Contains(err.Error(), "spec.provider.webhook."+tc.field) {
				t.Errorf("%s\nOpen: got %v, want ErrInvalid with spec.provider.webhook.%s in it", tc.reason, err, tc.field)
			}
		})
	}
}
