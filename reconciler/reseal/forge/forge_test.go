package forge_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockstep-dev/lockstep/reconciler/reseal/forge"
)

// github and gitlab answer as the documentation of their APIs says.
// Sources: https://docs.github.com/en/rest/pulls/pulls and
// https://docs.gitlab.com/api/merge_requests
func server(t *testing.T, header, token, path string, answer func(r *http.Request, body map[string]any) (int, string)) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(header) != token {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.URL.EscapedPath() != path {
			t.Errorf("asked for %s, want %s", r.URL.EscapedPath(), path)
		}
		var body map[string]any
		if r.Method == http.MethodPost {
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				t.Error(err)
			}
		}
		status, text := answer(r, body)
		w.WriteHeader(status)
		fmt.Fprint(w, text)
	}))
	t.Cleanup(s.Close)
	return s
}

var request = forge.Request{Head: "lockstep/reseal/main", Base: "main", Title: "t", Body: "b"}

func TestEnsure(t *testing.T) {
	cases := map[string]struct {
		kind                forge.Kind
		header, token, path string
		list                string // what is open already
		made                string
		query               map[string]string
		body                map[string]any
		want                forge.PullRequest
	}{
		"GitHub": {forge.GitHub, "Authorization", "Bearer s3cret", "/repos/team/fleet/pulls", `[]`, `{"number":7,"html_url":"https://github.com/team/fleet/pull/7"}`,
			map[string]string{"head": "team:lockstep/reseal/main", "base": "main", "state": "open"},
			map[string]any{"head": "lockstep/reseal/main", "base": "main", "title": "t", "body": "b"}, forge.PullRequest{Number: 7, URL: "https://github.com/team/fleet/pull/7"}},
		"GitHubThere": {forge.GitHub, "Authorization", "Bearer s3cret", "/repos/team/fleet/pulls",
			`[{"number":5,"html_url":"u5","head":{"ref":"other"},"base":{"ref":"main"}},{"number":6,"html_url":"u6","head":{"ref":"lockstep/reseal/main"},"base":{"ref":"main"}}]`, "",
			nil, nil, forge.PullRequest{Number: 6, URL: "u6"}},
		"GitLab": {forge.GitLab, "Private-Token", "s3cret", "/projects/team%2Ffleet/merge_requests", `[]`, `{"iid":3,"web_url":"u3"}`,
			map[string]string{"source_branch": "lockstep/reseal/main", "target_branch": "main", "state": "opened"},
			map[string]any{"source_branch": "lockstep/reseal/main", "target_branch": "main", "title": "t", "description": "b", "remove_source_branch": true},
			forge.PullRequest{Number: 3, URL: "u3"}},
		"GitLabThere": {forge.GitLab, "Private-Token", "s3cret", "/projects/team%2Ffleet/merge_requests",
			`[{"iid":4,"web_url":"u4","source_branch":"lockstep/reseal/main","target_branch":"main"}]`, "", nil, nil, forge.PullRequest{Number: 4, URL: "u4"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := server(t, tc.header, tc.token, tc.path, func(r *http.Request, body map[string]any) (int, string) {
				if r.Method == http.MethodPost {
					if diff := cmp.Diff(tc.body, body); diff != "" {
						t.Error(diff)
					}
					return http.StatusCreated, tc.made
				}
				for name, want := range tc.query {
					if got := r.URL.Query().Get(name); got != want {
						t.Errorf("%s is %q, want %q", name, got, want)
					}
				}
				return http.StatusOK, tc.list
			})
			c, err := forge.New(tc.kind, "https://git.example.com/team/fleet.git", s.URL, "s3cret", true)
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Ensure(t.Context(), request)
			if err != nil || got != tc.want {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

// No answer makes an error that holds the token, or what the server says.
func TestErrors(t *testing.T) {
	for status, want := range map[int]string{
		http.StatusUnauthorized: "token", http.StatusNotFound: "spec.pullRequest.api", http.StatusInternalServerError: "500",
		http.StatusOK: "spec.pullRequest.forge", http.StatusFound: "302",
	} {
		s := server(t, "Authorization", "token s3cret", "/repos/team/fleet/pulls", func(*http.Request, map[string]any) (int, string) {
			return status, "<html>s3cret</html>"
		})
		c, err := forge.New(forge.Gitea, "https://git.example.com/team/fleet", s.URL+"/", "s3cret", true)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Ensure(t.Context(), request)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%d: got %v, want %q", status, err, want)
		}
		if e := (*forge.Error)(nil); status >= 300 && (!errors.As(err, &e) || e.Status != status) {
			t.Errorf("%d: got %T", status, err)
		}
	}
}

func TestNew(t *testing.T) {
	cases := map[string]struct {
		kind         forge.Kind
		address, api string
		insecure     bool
		want, err    string
	}{
		"GitHub":     {kind: forge.GitHub, address: "https://github.com/a/b.git", want: "https://api.github.com"},
		"Enterprise": {kind: forge.GitHub, address: "ssh://git@git.example.com/a/b", want: "https://git.example.com/api/v3"},
		"GitLab":     {kind: forge.GitLab, address: "https://gitlab.com/a/b/c.git", want: "https://gitlab.com/api/v4"},
		"Gitea":      {kind: forge.Gitea, address: "https://git.example.com:3000/a/b", want: "https://git.example.com:3000/api/v1"},
		"Unknown":    {kind: "svn", address: "https://git.example.com/a/b", err: "forge"},
		"NoAddress":  {kind: forge.Gitea, address: "a/b", err: "spec.url"},
		"NoOwner":    {kind: forge.Gitea, address: "https://git.example.com/b", err: "OWNER/NAME"},
		"NotAnAPI":   {kind: forge.Gitea, address: "https://git.example.com/a/b", api: "x", err: "spec.pullRequest.api"},
		"Plain":      {kind: forge.Gitea, address: "https://git.example.com/a/b", api: "http://git.example.com", err: "http"},
		"Allowed":    {kind: forge.Gitea, address: "https://git.example.com/a/b", api: "http://git.example.com", insecure: true, want: "http://git.example.com"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, err := forge.New(tc.kind, tc.address, tc.api, "s3cret", tc.insecure)
			switch {
			case tc.err != "":
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got %v, want %q", err, tc.err)
				}
			case err != nil || c.API != tc.want:
				t.Errorf("got %+v, %v", c, err)
			}
		})
	}
}
