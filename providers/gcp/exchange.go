package gcp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/egress"
)

// What token exchanges are called.
// Source: RFC 8693, and https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token
const (
	grantExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	grantJWT      = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	typeAccess    = "urn:ietf:params:oauth:token-type:access_token"
	typeJWT       = "urn:ietf:params:oauth:token-type:jwt"
	typeAWS       = "urn:ietf:params:aws:token-type:aws4_request"
)

// question is a request for a token: json or form.
type question struct {
	url    string
	json   map[string]any
	form   map[string]string
	bearer string
	who    string // who asks, for messages
}

// maxToken is how large an answer may be: a token has a few kB.
const maxToken = 64 << 10

// post asks for a token.
func (x exchange) post(ctx context.Context, q question) (token, error) {
	sent, err := q.request(ctx)
	if err != nil {
		return token{}, err
	}
	host := sent.URL.Host
	got, err := x.http.Do(sent)
	if err != nil {
		if ctx.Err() != nil {
			return token{}, fmt.Errorf("ask %s for a token: %w", host, ctx.Err())
		}
		return token{}, fmt.Errorf("ask %s for a token: %w: %s", host, providers.ErrUnavailable, egress.Why(err, requestTimeout))
	}
	defer got.Body.Close()
	body, err := io.ReadAll(io.LimitReader(got.Body, maxToken))
	if err != nil {
		return token{}, fmt.Errorf("ask %s for a token: %w: %s", host, providers.ErrUnavailable, egress.Why(err, requestTimeout))
	}
	defer clear(body)
	switch {
	case got.StatusCode == http.StatusOK:
		return parse(host, body)
	case got.StatusCode == http.StatusTooManyRequests:
		seconds, _ := strconv.ParseUint(got.Header.Get("Retry-After"), 10, 16) // 0 if there is none
		return token{}, fmt.Errorf("ask %s for a token: %w", host, providers.Throttled{After: time.Duration(seconds) * time.Second})
	case got.StatusCode >= http.StatusBadRequest && got.StatusCode < http.StatusInternalServerError && ofGoogle(body):
		return token{}, fmt.Errorf("%w: %s does not accept %s (status %d): check whom the pool and the service account trust", providers.ErrDenied, host, q.who, got.StatusCode)
	}
	return token{}, fmt.Errorf("ask %s for a token: %w: it answers with status %d", host, providers.ErrUnavailable, got.StatusCode)
}

// ofGoogle reports whether a refusal has the form that those of Google have:
// a proxy cannot say whom it trusts.
func ofGoogle(body []byte) bool {
	var out struct {
		Error json.RawMessage `json:"error"`
	}
	return json.Unmarshal(body, &out) == nil && len(out.Error) > 0
}

func (q question) request(ctx context.Context) (*http.Request, error) {
	var body io.Reader
	kind := "application/json"
	if q.json != nil {
		text, err := json.Marshal(q.json)
		if err != nil {
			return nil, fmt.Errorf("%w: a credential has no form as JSON", providers.ErrInvalid)
		}
		body = bytes.NewReader(text)
	} else {
		values := url.Values{}
		for key, value := range q.form {
			values.Set(key, value)
		}
		body, kind = strings.NewReader(values.Encode()), "application/x-www-form-urlencoded"
	}
	sent, err := http.NewRequestWithContext(ctx, http.MethodPost, q.url, body)
	if err != nil {
		return nil, fmt.Errorf("%w: no request can be made for a token", providers.ErrInvalid)
	}
	sent.Header.Set("Content-Type", kind)
	if q.bearer != "" {
		sent.Header.Set("Authorization", "Bearer "+q.bearer)
	}
	return sent, nil
}

// parse reads an answer of STS or of IAM.
func parse(host string, body []byte) (token, error) {
	var out struct {
		Access    string    `json:"access_token"`
		ExpiresIn int       `json:"expires_in"`
		OfIAM     string    `json:"accessToken"`
		Expire    time.Time `json:"expireTime"`
		Signed    string    `json:"signedJwt"`
	}
	if err := json.Unmarshal(body, &out); err != nil || (out.Access == "" && out.OfIAM == "" && out.Signed == "") {
		return token{}, fmt.Errorf("ask %s for a token: %w: what answers there gives none", host, providers.ErrUnavailable)
	}
	switch {
	case out.Signed != "":
		return token{value: out.Signed}, nil
	case out.OfIAM != "":
		return token{value: out.OfIAM, expires: out.Expire}, nil
	}
	lives := time.Duration(out.ExpiresIn) * time.Second
	if lives <= 0 {
		lives = lifetime
	}
	return token{value: out.Access, expires: time.Now().Add(lives)}, nil //nolint:forbidigo // tokens end by this clock
}
