package kubernetes

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/egress"
)

const (
	requestTimeout = 10 * time.Second
	// maxBody is how large an answer may be: a Secret has 1 MiB, base64 and
	// metadata make it 2; a page of metadata is smaller.
	maxBody = 4 << 20
)

// client sends requests to one API server as one user.
type client struct {
	http *http.Client
	base *url.URL
	// bearer returns a token, and until when it is valid; nil: a client
	// certificate says who we are.
	bearer func(ctx context.Context) (string, time.Time, error)

	mu    sync.Mutex
	token string
	until time.Time
}

// address checks the URL of an API server.
func address(field, text string) (*url.URL, error) {
	if !strings.Contains(text, "://") {
		text = "https://" + text // as in kubernetes.default
	}
	base, err := url.Parse(text)
	if err != nil || base.Host == "" || base.Scheme != "https" || base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, fmt.Errorf("%s: %w: it must be a URL such as https://api.example.com:6443", field, providers.ErrInvalid)
	}
	return base, nil
}

func pool(field string, bundle []byte) (*x509.CertPool, error) {
	if len(bundle) == 0 {
		return nil, nil
	}
	return providers.Authorities(field, bundle)
}

// counted makes a client count its requests.
func counted(c *http.Client) *http.Client {
	c.Transport = providers.Counted{Next: c.Transport, Name: callName}
	return c
}

// callName names a request as External Secrets Operator does.
func callName(r *http.Request) (string, string) {
	call := "GetSecret"
	switch before, name, _ := strings.Cut(r.URL.Path, "/secrets"); {
	case strings.HasSuffix(before, "/selfsubjectrulesreviews"):
		call = "CreateSelfSubjectRulesReview"
	case strings.HasSuffix(before, "/selfsubjectaccessreviews"):
		call = "CreateSelfSubjectAccessReview"
	case r.Method == http.MethodPost:
		call = "CreateSecret"
	case r.Method == http.MethodDelete:
		call = "DeleteSecret"
	case r.Method != http.MethodGet:
		call = "UpdateSecret"
	case name == "":
		call = "ListSecrets"
	}
	return "Kubernetes", call
}

// request is what to send. body is nil or becomes JSON.
type request struct {
	method, path, verb string
	query              url.Values
	body               any
	metadata           bool // only that of each object
}

// do sends q and reads the answer into out, which may be nil.
func (c *client) do(ctx context.Context, q request, out any) error {
	sent, err := c.build(ctx, q)
	if err != nil {
		return err
	}
	got, err := c.http.Do(sent)
	if err != nil {
		return c.unreached(ctx, err)
	}
	defer got.Body.Close()
	body, err := io.ReadAll(io.LimitReader(got.Body, maxBody+1))
	if err != nil {
		return c.unreached(ctx, err)
	}
	defer clear(body)
	if got.StatusCode == http.StatusUnauthorized {
		c.forget()
	}
	if err := c.refused(got, q, body); err != nil || out == nil {
		return err
	}
	if len(body) > maxBody || json.Unmarshal(body, out) != nil {
		return c.stranger()
	}
	return nil
}

// stranger says that an answer is not from an API server.
func (c *client) stranger() error {
	return fmt.Errorf("%w: what answers at %s is not Kubernetes", providers.ErrUnavailable, c.base.Host)
}

func (c *client) build(ctx context.Context, q request) (*http.Request, error) {
	var body io.Reader
	if q.body != nil {
		text, err := json.Marshal(q.body)
		if err != nil {
			return nil, fmt.Errorf("%w: what is to be written has no form as JSON", providers.ErrInvalid)
		}
		body = bytes.NewReader(text)
	}
	target := *c.base
	target.Path = strings.TrimSuffix(c.base.Path, "/") + q.path
	target.RawQuery = q.query.Encode()
	sent, err := http.NewRequestWithContext(ctx, q.method, target.String(), body)
	if err != nil {
		return nil, fmt.Errorf("%w: no request can be made for %s", providers.ErrInvalid, q.path)
	}
	sent.Header.Set("Accept", "application/json")
	if q.metadata {
		sent.Header.Set("Accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")
	}
	if q.body != nil {
		sent.Header.Set("Content-Type", "application/json")
	}
	token, err := c.valid(ctx)
	if token != "" {
		sent.Header.Set("Authorization", "Bearer "+token)
	}
	return sent, err
}

// early is how long before its end a token is no longer used.
const early = time.Minute

// valid returns a token; none if a certificate says who we are.
func (c *client) valid(ctx context.Context) (string, error) {
	if c.bearer == nil {
		return "", nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token != "" && (c.until.IsZero() || time.Until(c.until) > early) {
		return c.token, nil
	}
	var err error
	c.token, c.until, err = c.bearer(ctx)
	return c.token, err
}

// forget makes the next request get another token.
func (c *client) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = ""
}

func (c *client) unreached(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("request to %s: %w", c.base.Host, ctx.Err())
	}
	return fmt.Errorf("%w: %s: %s", providers.ErrUnavailable, c.base.Host, egress.Why(err, requestTimeout))
}

// refused returns why an answer has nothing in it; nil if it has. Only a
// Status that is about Secrets says that one is gone.
func (c *client) refused(got *http.Response, q request, body []byte) error {
	var status metav1.Status
	if got.StatusCode >= http.StatusBadRequest && json.Unmarshal(body, &status) != nil {
		status = metav1.Status{}
	}
	switch code := got.StatusCode; {
	case code == http.StatusOK || code == http.StatusCreated || code == http.StatusAccepted:
		return nil
	case code == http.StatusNotFound && status.Reason == metav1.StatusReasonNotFound && status.Details != nil && status.Details.Kind == "secrets":
		return fmt.Errorf("%w: not at %s", providers.ErrNotFound, c.base.Host)
	case code == http.StatusUnauthorized:
		return fmt.Errorf("%w: %s does not accept the credentials: they are wrong, no longer valid, or a token for another audience", providers.ErrDenied, c.base.Host)
	case code == http.StatusForbidden:
		return fmt.Errorf("%w: %s: allow %s on secrets in a Role of that namespace", providers.ErrDenied, c.base.Host, q.verb)
	case code == http.StatusTooManyRequests:
		seconds, _ := strconv.ParseUint(got.Header.Get("Retry-After"), 10, 16) // 0 if there is none
		return fmt.Errorf("request to %s: %w", c.base.Host, providers.Throttled{After: time.Duration(seconds) * time.Second})
	case code == http.StatusConflict:
		return fmt.Errorf("%w: %s: someone else has written it at the same time", providers.ErrUnavailable, c.base.Host)
	case code == http.StatusBadRequest || code == http.StatusUnprocessableEntity || code == http.StatusRequestEntityTooLarge:
		return fmt.Errorf("%w: %s refuses the request (status %d)", providers.ErrInvalid, c.base.Host, code)
	}
	return fmt.Errorf("%w: %s answers with status %d", providers.ErrUnavailable, c.base.Host, got.StatusCode)
}
