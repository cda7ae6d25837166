package source

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/golang-jwt/jwt/v5"
)

// Keys of the Secret of a GitHub App; they are Flux's.
const (
	keyAppID        = "githubAppID"
	keyInstallation = "githubAppInstallationID"
	keyOwner        = "githubAppInstallationOwner"
	keyAppKey       = "githubAppPrivateKey"
	keyAppURL       = "githubAppBaseURL"
)

// githubAPI is GitHub's own; that of a GitHub Enterprise Server is in the Secret.
const githubAPI = "https://api.github.com"

// appToken is a token of a GitHub App, and what it was made by.
type appToken struct {
	of      string
	value   string
	expires time.Time
}

// early is how long before its end a token is renewed: longer than any fetch.
const early = 5 * time.Minute

// app asks GitHub for tokens in the name of an App.
type app struct {
	base   *url.URL
	client *http.Client
	secret credentials
	now    time.Time
}

// github replaces the credentials of f by a token, which lasts an hour and may
// only read.
// Source: https://docs.github.com/en/rest/apps/apps
func (s *state) github(ctx context.Context, f *fetching) error {
	now := time.Now() //nolint:forbidigo // when a token ends
	of := sortedSecret(f.secret)
	if s.token.of != of || now.After(s.token.expires.Add(-early)) {
		a, err := newApp(*f, now)
		if err != nil {
			return err
		}
		defer a.client.CloseIdleConnections()
		if s.token, err = a.token(ctx); err != nil {
			return err
		}
		s.token.of = of
	}
	f.secret = credentials{keyUsername: []byte("x-access-token"), keyPassword: []byte(s.token.value), keyCA: f.secret[keyCA]}
	return nil
}

func newApp(f fetching, now time.Time) (*app, error) {
	base := strings.TrimSpace(string(f.secret[keyAppURL]))
	if base == "" {
		base = githubAPI
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !f.insecure) {
		return nil, &invalid{reasonAuthentication, fmt.Errorf("spec.secretRef: %s is not an https address", keyAppURL)}
	}
	config, err := TLS("spec.secretRef", credentials{keyCA: f.secret[keyCA]})
	if err != nil {
		return nil, err
	}
	proxy, err := Proxy(f.proxy)
	if err != nil {
		return nil, err
	}
	// A redirect would take the App's signature elsewhere.
	client := &http.Client{
		Transport:     Transport(config, proxy, Plain{Requests: f.insecure, Credentials: f.insecure}),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &app{base: u, client: client, secret: f.secret, now: now}, nil
}

// token asks for one of the installation.
func (a *app) token(ctx context.Context) (appToken, error) {
	signed, err := a.sign()
	if err != nil {
		return appToken{}, err
	}
	installation, err := a.installation(ctx, signed)
	if err != nil {
		return appToken{}, err
	}
	var made struct {
		Token     string    `json:"token"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	least := []byte(`{"permissions":{"contents":"read"}}`)
	if err := a.call(ctx, request{http.MethodPost, "app/installations/" + installation + "/access_tokens", least}, signed, &made); err != nil {
		return appToken{}, err
	}
	if made.Token == "" {
		return appToken{}, errors.New("GitHub has made no token")
	}
	return appToken{value: made.Token, expires: made.ExpiresAt}, nil
}

// sign makes the token by which the App shows who it is. Its beginning is in
// the past, as clocks differ; GitHub allows 10 minutes.
func (a *app) sign() (string, error) {
	id := strings.TrimSpace(string(a.secret[keyAppID]))
	key, err := jwt.ParseRSAPrivateKeyFromPEM(a.secret[keyAppKey])
	if id == "" || err != nil { // whose text may repeat what is in the key
		return "", &invalid{reasonAuthentication, fmt.Errorf("spec.secretRef: the provider github needs %s, and %s as an RSA key in PEM", keyAppID, keyAppKey)}
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.RegisteredClaims{
		Issuer: id, IssuedAt: jwt.NewNumericDate(a.now.Add(-time.Minute)), ExpiresAt: jwt.NewNumericDate(a.now.Add(8 * time.Minute)),
	}).SignedString(key)
	if err != nil {
		return "", fmt.Errorf("sign for GitHub: %w", err)
	}
	return signed, nil
}

var digits = regexp.MustCompile(`^[0-9]+$`)

// installation returns the id of the installation: the one that the Secret
// names, or that of an owner.
func (a *app) installation(ctx context.Context, signed string) (string, error) {
	id, owner := strings.TrimSpace(string(a.secret[keyInstallation])), strings.TrimSpace(string(a.secret[keyOwner]))
	if digits.MatchString(id) {
		return id, nil
	}
	if id != "" || owner == "" {
		return "", &invalid{reasonAuthentication, fmt.Errorf("spec.secretRef: the provider github needs %s, a number, or %s", keyInstallation, keyOwner)}
	}
	var found struct {
		ID json.Number `json:"id"`
	}
	err := a.call(ctx, request{http.MethodGet, "orgs/" + url.PathEscape(owner) + "/installation", nil}, signed, &found)
	if refused, ok := errors.AsType[*appError](err); ok && refused.status == http.StatusNotFound {
		err = a.call(ctx, request{http.MethodGet, "users/" + url.PathEscape(owner) + "/installation", nil}, signed, &found)
	}
	if err == nil && !digits.MatchString(found.ID.String()) {
		err = errors.New("GitHub names no installation")
	}
	return found.ID.String(), err
}

// appError is a refusal by GitHub, without its words.
type appError struct{ status int }

func (e *appError) Error() string {
	return fmt.Sprintf("GitHub refuses the App of spec.secretRef: %d %s: check its id, its key and its installation", e.status, http.StatusText(e.status))
}

// maxAnswer is how many bytes an answer of GitHub may have.
const maxAnswer = 1 << 20

// request is what is asked of GitHub.
type request struct {
	method, path string
	body         []byte
}

func (a *app) call(ctx context.Context, q request, signed string, out any) error {
	r, err := http.NewRequestWithContext(ctx, q.method, a.base.JoinPath(q.path).String(), bytes.NewReader(q.body))
	if err != nil {
		return fmt.Errorf("make a request to GitHub: %w", err)
	}
	r.Header.Set("Authorization", "Bearer "+signed)
	r.Header.Set("Accept", "application/vnd.github+json")
	resp, err := a.client.Do(r)
	if err != nil {
		return fmt.Errorf("ask GitHub for a token: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return &appError{resp.StatusCode}
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return errors.New("the answer of GitHub cannot be read")
	}
	return nil
}

// provider makes the credentials of f those that its provider gives.
func (s *state) provider(ctx context.Context, f *fetching) error {
	if f.Spec.Provider == sourcev1.GitProviderAzure {
		return s.cloud(ctx, f)
	}
	if f.Spec.Provider != sourcev1.GitProviderGitHub {
		if len(f.secret[keyAppID]) > 0 {
			return &invalid{reasonAuthentication, fmt.Errorf("spec.secretRef: the Secret is that of a GitHub App: set spec.provider to %s", sourcev1.GitProviderGitHub)}
		}
		return nil
	}
	if f.secret == nil {
		return &invalid{reasonAuthentication, fmt.Errorf("spec.secretRef: the provider github needs a Secret with %s and %s", keyAppID, keyAppKey)}
	}
	return s.github(ctx, f)
}
