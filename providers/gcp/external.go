package gcp

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/egress"
)

// fromURL asks the URL of a credential configuration for a token. The headers
// of the configuration go there only: redirects are not followed.
func (x exchange) fromURL(ctx context.Context, c *credConfig) (subject, error) {
	sent, err := c.request(ctx)
	if err != nil {
		return subject{}, err
	}
	host := sent.URL.Host
	got, err := x.http.Do(sent)
	if ctx.Err() != nil {
		return subject{}, fmt.Errorf("ask %s for a token: %w", host, ctx.Err())
	}
	if err != nil {
		return subject{}, fmt.Errorf("ask %s for a token: %w: %s", host, providers.ErrUnavailable, egress.Why(err, requestTimeout))
	}
	defer got.Body.Close()
	body, err := io.ReadAll(io.LimitReader(got.Body, maxToken))
	if err != nil {
		return subject{}, fmt.Errorf("ask %s for a token: %w: %s", host, providers.ErrUnavailable, egress.Why(err, requestTimeout))
	}
	defer clear(body)
	switch got.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return subject{}, fmt.Errorf("%w: %s gives no token (status %d): check credential_source.headers", providers.ErrDenied, host, got.StatusCode)
	default:
		return subject{}, fmt.Errorf("ask %s for a token: %w: it answers with status %d", host, providers.ErrUnavailable, got.StatusCode)
	}
	s := subject{kind: cmp.Or(c.SubjectType, typeJWT), who: "the token of " + host}
	if s.token, err = c.token(body); err != nil {
		return subject{}, fmt.Errorf("ask %s for a token: %w", host, err)
	}
	return s, nil
}

func (c *credConfig) request(ctx context.Context) (*http.Request, error) {
	const field = federationField + ".externalTokenEndpoint"
	at, err := url.Parse(c.Source.URL)
	if err != nil || at.Host == "" || at.User != nil || (at.Scheme != "https" && at.Scheme != "http") {
		return nil, fmt.Errorf("%s: %w: it must be a URL such as https://tokens.example.com/token, without a user", field, providers.ErrInvalid)
	}
	sent, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: no request can be made for it", field, providers.ErrInvalid)
	}
	for name, value := range c.Source.Headers {
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) || strings.EqualFold(name, "Host") {
			return nil, fmt.Errorf("%s.credConfig: %w: credential_source.headers: %q is no header that can be set", federationField, providers.ErrInvalid, name)
		}
		sent.Header.Set(name, value)
	}
	return sent, nil
}

// token takes the token out of an answer: all of it, or a field of JSON.
func (c *credConfig) token(body []byte) (string, error) {
	text := string(body)
	if c.Source.Format.Type == "json" {
		var fields map[string]any
		if err := json.Unmarshal(body, &fields); err != nil {
			// The error of the decoder may hold a part of the token.
			return "", fmt.Errorf("%w: what it answers is no JSON object", providers.ErrUnavailable)
		}
		text, _ = fields[c.Source.Format.Field].(string)
	}
	text = strings.TrimSpace(text)
	if text == "" || strings.ContainsAny(text, "\r\n<>") {
		return "", fmt.Errorf("%w: there is no token in what it answers", providers.ErrUnavailable)
	}
	return text, nil
}
