// Package webhook reads secrets from any service that answers HTTP.
//
// What a store may send is bound: scheme, host and port stand in its spec and
// are no template, redirects are not followed, and an answer has at most a
// MiB. So its credentials reach that one server only.
package webhook

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/egress"
)

const (
	defaultTimeout = 10 * time.Second
	maxTimeout     = 30 * time.Second

	// maxBody is how large an answer may be: what a Secret holds, 1 MiB, as
	// JSON may spell it.
	maxBody = 2 << 20
	// maxRequest is how large a body and the URL may become.
	maxRequest = 64 << 10
)

// Open checks the settings. Nothing is sent before the first Read.
func Open(ctx context.Context, config providers.Config) (providers.Reader, error) {
	p := config.Provider.Webhook
	if p == nil {
		return nil, fmt.Errorf("spec.provider.webhook: %w: it is missing", providers.ErrInvalid)
	}
	r := &reader{refs: config.References, namespace: config.Store.Namespace, method: http.MethodGet, timeout: defaultTimeout}
	if err := r.settings(p); err != nil {
		return nil, err
	}
	roots, err := roots(ctx, p, config.References)
	if err != nil {
		return nil, err
	}
	r.wire = egress.Options{Roots: roots, LinkLocal: config.LinkLocal, Timeout: r.timeout}
	r.http = egress.Client(r.wire)
	if _, err := r.secrets(ctx); err != nil {
		return nil, err
	}
	if r.windows != nil {
		if _, _, err := r.user(ctx); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// reader is one webhook.
type reader struct {
	http      *http.Client
	refs      providers.References
	namespace string // of who reads; "" if it makes no difference
	method    string
	timeout   time.Duration
	origin    string // scheme, host and port
	url       *text  // what follows the origin
	body      *text
	headers   map[string]*text
	named     []esv1.WebhookSecret
	result    []step
	parsed    bool // a result is to be taken out of JSON
	wire      egress.Options
	windows   *esv1.WebhookNTLM // nil: no such user
}

func (r *reader) settings(p *esv1.WebhookProvider) error {
	if p.Method != "" {
		r.method = strings.ToUpper(p.Method)
	}
	if !slices.Contains([]string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch}, r.method) {
		return fmt.Errorf("spec.provider.webhook.method: %w: %q is none that reads: use GET or POST", providers.ErrInvalid, p.Method)
	}
	if p.Timeout != nil && p.Timeout.Duration > 0 {
		r.timeout = min(p.Timeout.Duration, maxTimeout)
	}
	for i, s := range p.Secrets {
		if s.Name == "" || s.Name == "remoteRef" || s.SecretRef.Name == "" {
			return fmt.Errorf("spec.provider.webhook.secrets[%d]: %w: name and secretRef.name are required, and a name is not remoteRef", i, providers.ErrInvalid)
		}
	}
	r.named = p.Secrets
	if err := r.ntlm(p); err != nil {
		return err
	}
	if err := r.templates(p); err != nil {
		return err
	}
	if p.Result.JSONPath == "" {
		return nil
	}
	r.parsed = true
	var err error
	r.result, err = path(p.Result.JSONPath)
	return err
}

func (r *reader) templates(p *esv1.WebhookProvider) error {
	rest, err := r.split(p.URL)
	if err != nil {
		return err
	}
	if r.url, err = newText("url", rest); err != nil {
		return err
	}
	if r.body, err = newText("body", p.Body); err != nil {
		return err
	}
	r.headers = map[string]*text{}
	for name, value := range p.Headers {
		if !httpguts.ValidHeaderFieldName(name) || strings.EqualFold(name, "Host") {
			return fmt.Errorf("spec.provider.webhook.headers: %w: %q is no header that can be set", providers.ErrInvalid, name)
		}
		if r.headers[name], err = newText("headers."+name, value); err != nil {
			return err
		}
	}
	return nil
}

// split takes scheme, host and port off the URL, which no template may change.
func (r *reader) split(whole string) (string, error) {
	scheme, rest, _ := strings.Cut(whole, "://")
	host, after := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		host, after = rest[:i], rest[i:]
	}
	origin, err := url.Parse(scheme + "://" + host)
	if err != nil || (scheme != "https" && scheme != "http") || origin.Host == "" || origin.User != nil || strings.Contains(host, "{{") {
		return "", fmt.Errorf("spec.provider.webhook.url: %w: it must begin with scheme and host, such as https://vault.example.com, without a user and without a template in them", providers.ErrInvalid)
	}
	r.origin = scheme + "://" + host
	if strings.HasPrefix(after, "?") {
		after = "/" + after
	}
	return after, nil
}

func roots(ctx context.Context, p *esv1.WebhookProvider, refs providers.References) (*x509.CertPool, error) {
	field, bundle := "caBundle", p.CABundle
	if len(bundle) > 0 && p.CAProvider != nil {
		providers.Warn(ctx, "spec.provider.webhook.caProvider: it makes no difference: caBundle counts; remove one of them")
	}
	if len(bundle) == 0 && p.CAProvider != nil {
		var err error
		field = "caProvider"
		if bundle, err = refs.CA(ctx, *p.CAProvider); err != nil {
			return nil, fmt.Errorf("spec.provider.webhook.caProvider: %w", err)
		}
	}
	if len(bundle) == 0 && p.CAProvider == nil {
		return nil, nil
	}
	return providers.Authorities("spec.provider.webhook."+field, bundle)
}

// secrets reads what the templates may use, anew each time: a Secret may hold
// something else by now. Without a key, secretRef is all keys of a Secret.
func (r *reader) secrets(ctx context.Context) (map[string]any, error) {
	all := map[string]any{}
	for i, s := range r.named {
		found, err := r.keys(ctx, s.SecretRef)
		if err != nil {
			return nil, fmt.Errorf("spec.provider.webhook.secrets[%d].secretRef: %w", i, err)
		}
		keys, ok := all[s.Name].(map[string]string)
		if !ok {
			keys = map[string]string{}
			all[s.Name] = keys
		}
		for key, v := range found {
			keys[key] = strings.TrimRight(string(v.Bytes()), "\r\n") // editors leave a newline
		}
	}
	return all, nil
}

func (r *reader) keys(ctx context.Context, ref esv1.SecretKeySelector) (map[string]providers.Value, error) {
	if ref.Key == "" {
		return r.refs.Keys(ctx, ref)
	}
	v, err := r.refs.Secret(ctx, ref)
	return map[string]providers.Value{ref.Key: v}, err
}

// Read implements providers.Reader. It takes one request.
func (r *reader) Read(ctx context.Context, ref providers.Ref) (providers.Value, error) {
	data, err := r.secrets(ctx)
	if err != nil {
		return providers.Value{}, err
	}
	data["remoteRef"] = map[string]string{"key": ref.Path, "version": ref.Version, "namespace": r.namespace}
	sent, err := r.request(ctx, data)
	if err != nil {
		return providers.Value{}, err
	}
	v, err := r.send(ctx, sent)
	if err != nil {
		return providers.Value{}, fmt.Errorf("read secret %q: %w", ref.Path, err)
	}
	return v, nil
}

func (r *reader) request(ctx context.Context, data map[string]any) (*http.Request, error) {
	where, err := r.url.escaped(data)
	if err != nil {
		return nil, err
	}
	body, err := r.body.plain(data)
	if err != nil {
		return nil, err
	}
	var reader io.Reader = http.NoBody
	if body != "" {
		reader = strings.NewReader(body)
	}
	sent, err := http.NewRequestWithContext(ctx, r.method, r.origin+where, reader)
	if err != nil {
		// The error of the parser may hold what was put in.
		return nil, fmt.Errorf("spec.provider.webhook.url: %w: it becomes no URL", providers.ErrInvalid)
	}
	for name, t := range r.headers {
		value, err := t.plain(data)
		if err != nil {
			return nil, err
		}
		if !httpguts.ValidHeaderFieldValue(value) {
			return nil, fmt.Errorf("spec.provider.webhook.headers.%s: %w: it has several lines or control characters", name, providers.ErrInvalid)
		}
		sent.Header.Set(name, value)
	}
	if r.windows != nil {
		return sent, r.as(ctx, sent)
	}
	return sent, nil
}

func (r *reader) send(ctx context.Context, sent *http.Request) (providers.Value, error) {
	got, err := r.do(sent)
	if err != nil {
		return providers.Value{}, r.unreached(ctx, err)
	}
	defer got.Body.Close()
	body, err := io.ReadAll(io.LimitReader(got.Body, maxBody+1))
	if err != nil {
		return providers.Value{}, r.unreached(ctx, err)
	}
	if err := r.refused(got, len(body)); err != nil {
		return providers.Value{}, err
	}
	if !r.parsed {
		return providers.NewValue(body), nil
	}
	defer clear(body)
	value, err := pick(body, r.result)
	if err != nil {
		return providers.Value{}, fmt.Errorf("%s: %w", r.origin, err)
	}
	return providers.NewValue(value), nil
}

func (r *reader) unreached(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("request to %s: %w", r.origin, ctx.Err())
	}
	return fmt.Errorf("%w: %s: %s", providers.ErrUnavailable, r.origin, egress.Why(err, r.timeout))
}

// refused returns why an answer has no value in it; nil if it has one.
func (r *reader) refused(got *http.Response, size int) error {
	page := strings.HasPrefix(got.Header.Get("Content-Type"), "text/html")
	switch code := got.StatusCode; {
	case code == http.StatusTooManyRequests:
		seconds, _ := strconv.ParseUint(got.Header.Get("Retry-After"), 10, 16) // 0 if there is none
		return fmt.Errorf("request to %s: %w", r.origin, providers.Throttled{After: time.Duration(seconds) * time.Second})
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return fmt.Errorf("%w: %s (status %d): check headers and auth of the store", providers.ErrDenied, r.origin, code)
	case code == http.StatusNotFound && !page:
		return fmt.Errorf("%w: not at %s (status 404)", providers.ErrNotFound, r.origin)
	case code >= 300 && code < 400:
		return fmt.Errorf("%w: %s redirects elsewhere (status %d), which is not followed: set url to the address that serves", providers.ErrUnavailable, r.origin, code)
	case code == http.StatusBadRequest || code == http.StatusUnprocessableEntity:
		return fmt.Errorf("%w: %s refuses the request (status %d)", providers.ErrInvalid, r.origin, code)
	case code != http.StatusOK:
		return fmt.Errorf("%w: %s answers with status %d", providers.ErrUnavailable, r.origin, code)
	case page:
		return fmt.Errorf("%w: %s answers with a web page", providers.ErrUnavailable, r.origin)
	case size == 0:
		return fmt.Errorf("%w: %s answers with nothing", providers.ErrUnavailable, r.origin)
	case size > maxBody:
		return fmt.Errorf("%w: %s answers with more than %d MiB", providers.ErrInvalid, r.origin, maxBody>>20)
	}
	return nil
}

// limited is a buffer with a limit.
type limited struct{ bytes.Buffer }

// Write implements io.Writer.
func (l *limited) Write(b []byte) (int, error) {
	if l.Len()+len(b) > maxRequest {
		return 0, fmt.Errorf("more than %d KiB", maxRequest>>10)
	}
	return l.Buffer.Write(b)
}
