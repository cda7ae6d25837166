// Package forge opens pull requests on GitHub, GitLab and Gitea.
package forge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Kind is the API that a server speaks.
type Kind string

// The kinds of servers.
const (
	GitHub Kind = "github"
	GitLab Kind = "gitlab"
	Gitea  Kind = "gitea"
)

const (
	timeout = 30 * time.Second // of one request

	// maxAnswer is how much of an answer is read, in bytes: a page of pull
	// requests with long texts has a tenth of that.
	maxAnswer = 8 << 20
)

// Client speaks to one server about one repository.
type Client struct {
	Kind    Kind
	API     string // such as https://api.github.com, without a slash at its end
	Token   string // secret
	Project string // such as owner/name
	HTTP    *http.Client
}

// Request is a pull request that is wanted.
type Request struct {
	Head, Base  string // branches of the same repository
	Title, Body string
}

// PullRequest is one that is there.
type PullRequest struct {
	Number int
	URL    string // for people
}

// New returns a client for the repository at address. api may be empty for the
// API of the address's own host. insecure allows http.
func New(kind Kind, address, api, token string, insecure bool) (*Client, error) {
	host, project, err := split(address)
	if err != nil {
		return nil, err
	}
	if api == "" {
		switch kind {
		case GitHub:
			if api = "https://" + host + "/api/v3"; host == "github.com" {
				api = "https://api.github.com"
			}
		case GitLab:
			api = "https://" + host + "/api/v4"
		case Gitea:
			api = "https://" + host + "/api/v1"
		default:
			return nil, fmt.Errorf("spec.pullRequest.forge %q: use github, gitlab or gitea", kind)
		}
	}
	u, err := url.Parse(api)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("spec.pullRequest.api is not an address: write it as https://HOST/PATH")
	}
	if u.Scheme == "http" && !insecure {
		return nil, errors.New("spec.pullRequest.api: a token is not sent over http, where all can read it: use https, or start the controller with --allow-http-credentials")
	}
	client := &http.Client{
		Timeout: timeout,
		// A redirect could lead the token elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Client{Kind: kind, API: strings.TrimRight(api, "/"), Token: token, Project: project, HTTP: client}, nil
}

// split returns the host and the path of a repository's address.
func split(address string) (host, project string, err error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "", "", errors.New("the GitRepository's spec.url is not an address")
	}
	project = strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git")
	if !strings.Contains(project, "/") {
		return "", "", errors.New("the GitRepository's spec.url does not end in OWNER/NAME")
	}
	if u.Scheme == "ssh" {
		return u.Hostname(), project, nil // the port is that of SSH
	}
	return u.Host, project, nil
}

// Ensure returns the open pull request from Head into Base, and opens one if
// there is none.
func (c *Client) Ensure(ctx context.Context, r Request) (PullRequest, error) {
	found, err := c.find(ctx, r)
	if err != nil || found != nil {
		return value(found), err
	}
	if c.Kind == GitLab {
		body := map[string]any{"source_branch": r.Head, "target_branch": r.Base, "title": r.Title, "description": r.Body, "remove_source_branch": true}
		return c.open(ctx, "/projects/"+url.PathEscape(c.Project)+"/merge_requests", body)
	}
	return c.open(ctx, "/repos/"+c.Project+"/pulls", map[string]any{"head": r.Head, "base": r.Base, "title": r.Title, "body": r.Body})
}

func value(p *PullRequest) PullRequest {
	if p == nil {
		return PullRequest{}
	}
	return *p
}

// pull is a pull request as one of the servers describes it.
type pull struct {
	Number  int    `json:"number"`
	HTMLURL string `json:"html_url"`
	IID     int    `json:"iid"`
	WebURL  string `json:"web_url"`
	Head    ref    `json:"head"`
	Base    ref    `json:"base"`
	Source  string `json:"source_branch"`
	Target  string `json:"target_branch"`
}

type ref struct {
	Ref string `json:"ref"`
}

func (p pull) request() PullRequest {
	return PullRequest{Number: max(p.Number, p.IID), URL: p.HTMLURL + p.WebURL}
}

func (p pull) is(r Request) bool {
	return p.Head.Ref+p.Source == r.Head && p.Base.Ref+p.Target == r.Base
}

// pages is how many pages of open pull requests are searched, of fifty each.
const pages = 20

func (c *Client) find(ctx context.Context, r Request) (*PullRequest, error) {
	query := url.Values{"state": {"open"}, "per_page": {"50"}, "limit": {"50"}}
	path := "/repos/" + c.Project + "/pulls"
	switch c.Kind {
	case GitHub:
		owner, _, _ := strings.Cut(c.Project, "/")
		query.Set("head", owner+":"+r.Head)
		query.Set("base", r.Base)
	case GitLab:
		path = "/projects/" + url.PathEscape(c.Project) + "/merge_requests"
		query = url.Values{"state": {"opened"}, "source_branch": {r.Head}, "target_branch": {r.Base}, "per_page": {"50"}}
	case Gitea: // which filters by neither branch
	}
	for page := 1; page <= pages; page++ {
		query.Set("page", strconv.Itoa(page))
		var all []pull
		if err := c.do(ctx, http.MethodGet, path+"?"+query.Encode(), nil, &all); err != nil {
			return nil, fmt.Errorf("list pull requests: %w", err)
		}
		for _, p := range all {
			if p.is(r) {
				found := p.request()
				return &found, nil
			}
		}
		if len(all) < 50 {
			return nil, nil
		}
	}
	return nil, nil
}

func (c *Client) open(ctx context.Context, path string, body map[string]any) (PullRequest, error) {
	var made pull
	if err := c.do(ctx, http.MethodPost, path, body, &made); err != nil {
		return PullRequest{}, fmt.Errorf("open pull request: %w", err)
	}
	return made.request(), nil
}

// Error is an answer of the server that is not a success. Its text is the
// status alone: what a server says may hold anything.
type Error struct{ Status int }

// Error implements error.
func (e *Error) Error() string {
	text := fmt.Sprintf("the server answers %d %s", e.Status, http.StatusText(e.Status))
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return text + ": put a token into the Secret that may open pull requests"
	case http.StatusNotFound:
		return text + ": check spec.pullRequest.api, and that the token may see the repository"
	default:
		return text
	}
}

func (c *Client) do(ctx context.Context, method, path string, body, into any) error {
	var reader io.Reader = http.NoBody
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("write the request: %w", err)
		}
		reader = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.API+path, reader)
	if err != nil {
		return errors.New("the address of the API is malformed")
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	switch c.Kind {
	case GitHub:
		request.Header.Set("Authorization", "Bearer "+c.Token)
	case GitLab:
		request.Header.Set("Private-Token", c.Token)
	default:
		request.Header.Set("Authorization", "token "+c.Token)
	}
	answer, err := c.HTTP.Do(request)
	if err != nil {
		return fmt.Errorf("reach the API: %w", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if answer.StatusCode/100 != 2 {
		return &Error{Status: answer.StatusCode}
	}
	if err := json.Unmarshal(text, into); err != nil {
		return errors.New("the answer is not what the API of this kind of server gives: check spec.pullRequest.forge and api")
	}
	return nil
}
