package vault

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
	"golang.org/x/net/http/httpguts"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/egress"
)

const (
	// requestTimeout is how long one request may take: a read of KV takes
	// milliseconds, and a server that hangs must not hold up others.
	requestTimeout = 10 * time.Second
	// maxBody is how large an answer may be: a secret has 1 MiB
	// (max_entry_size of the raft storage), and JSON can make six bytes of one.
	maxBody = 8 << 20
)

// client sends requests to one server.
type client struct {
	api     *api.Client // without a token; see as
	address string      // scheme and host, for messages
	wire    egress.Options
}

// newClient returns a client that shows the certificate of the store's tls, or
// cert unless that is nil.
func newClient(ctx context.Context, config providers.Config, cert *tls.Certificate) (*client, error) {
	p, refs := config.Provider.Vault, config.References
	base, err := url.Parse(p.Server)
	if err != nil || base.Host == "" || (base.Scheme != "https" && base.Scheme != "http") {
		return nil, fmt.Errorf("spec.provider.vault.server: %w: it must be a URL such as https://vault.example.com:8200", providers.ErrInvalid)
	}
	if base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, fmt.Errorf("spec.provider.vault.server: %w: it must have no user, no query and no fragment", providers.ErrInvalid)
	}
	roots, err := roots(ctx, p, refs)
	if err != nil {
		return nil, err
	}
	if cert == nil {
		if cert, err = certificate(ctx, "spec.provider.vault.tls", p.TLS.CertSecretRef, p.TLS.KeySecretRef, refs); err != nil {
			return nil, err
		}
	}
	header, err := headers(p)
	if err != nil {
		return nil, err
	}
	o := egress.Options{Roots: roots, LinkLocal: config.LinkLocal, Timeout: requestTimeout}
	if cert != nil {
		o.Certificates = []tls.Certificate{*cert}
	}
	made, err := newAPI(p, egress.Client(o), header)
	if err != nil {
		return nil, err
	}
	return &client{api: made, address: base.Scheme + "://" + base.Host, wire: o}, nil
}

// newAPI returns a client of Vault's own library that has nothing but what the
// store says. The library reads VAULT_* of the environment whatever it is
// given; all of it that could reach a request is taken out again here.
func newAPI(p *esv1.VaultProvider, web *http.Client, header http.Header) (*api.Client, error) {
	web.Transport = limited{providers.Counted{Next: web.Transport, Name: callName}}
	made, err := api.NewClient(&api.Config{
		Address:          strings.TrimSuffix(p.Server, "/"),
		HttpClient:       web, // it has the time limit, which is that of the whole answer
		MaxRetries:       0,   // the controllers decide when to try again, for all stores alike
		MinRetryWait:     time.Second,
		MaxRetryWait:     time.Second,
		DisableRedirects: true,
		ReadYourWrites:   p.ReadYourWrites || p.ForwardInconsistent, // which says what to do if it cannot be
	})
	if err != nil {
		// Not repeated: it may hold what the environment does.
		return nil, fmt.Errorf("%w: the environment of the controller has a VAULT_ variable that the library of Vault cannot read: remove it", providers.ErrUnavailable)
	}
	made.ClearToken()
	made.SetHeaders(header)
	made.SetWrappingLookupFunc(func(string, string) string { return "" })
	return made, nil
}

// callName names the service and the call of a request, as External Secrets
// Operator does.
func callName(r *http.Request) (string, string) {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	auth := strings.HasPrefix(path, "auth/")
	call := "ReadSecretData"
	switch {
	case strings.HasPrefix(path, "sys/"):
		return "", ""
	case auth && strings.HasSuffix(path, "/revoke-self"):
		call = "RevokeSelf"
	case auth && strings.HasSuffix(path, "/lookup-self"):
		call = "LookupSelf"
	case auth && r.Method != http.MethodGet:
		call = "Login"
	case r.Method == "LIST" || r.URL.Query().Get("list") == "true":
		call = "ListSecrets"
	case r.Method == http.MethodDelete:
		call = "DeleteSecret"
	case r.Method != http.MethodGet:
		call = "WriteSecretData"
	}
	return "HashiCorp/Vault", call
}

// as returns the client for one token and namespace. It is a copy, so that
// those of other requests stay as they are; connections are shared.
func (c *client) as(namespace string, token providers.Value) *api.Client {
	mine := c.api.WithNamespace(namespace)
	mine.SetToken(string(token.Bytes()))
	return mine
}

// errTooLarge says that an answer is larger than maxBody.
var errTooLarge = errors.New("answer is too large")

// limited bounds what is read of an answer, which the library does not.
type limited struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	got, err := l.RoundTripper.RoundTrip(r)
	if err == nil {
		got.Body = &limitedBody{ReadCloser: got.Body, left: maxBody}
	}
	return got, err //nolint:wrapcheck // as the transport says it
}

type limitedBody struct {
	io.ReadCloser
	left int
}

// Read implements io.Reader.
func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

// headers returns those that every request has.
func headers(p *esv1.VaultProvider) (http.Header, error) {
	h := http.Header{api.RequestHeaderName: {"true"}} // a Vault Agent may insist on it
	if p.ForwardInconsistent {
		h.Set(api.HeaderInconsistent, "forward-active-node")
	}
	for name, value := range p.Headers {
		canonical := http.CanonicalHeaderKey(name)
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, fmt.Errorf("spec.provider.vault.headers: %w: %q is no header of HTTP", providers.ErrInvalid, name)
		}
		if slices.Contains([]string{api.AuthHeaderName, api.NamespaceHeaderName, api.HeaderIndex, api.RequestHeaderName, "Host", "Content-Length"}, canonical) {
			return nil, fmt.Errorf("spec.provider.vault.headers: %w: %s is set by other fields of the store", providers.ErrInvalid, canonical)
		}
		h.Set(name, value)
	}
	return h, nil
}

// certificate reads a client certificate and its key; nil if neither is named.
func certificate(ctx context.Context, field string, cert, key *esv1.SecretKeySelector, refs providers.References) (*tls.Certificate, error) {
	if cert == nil && key == nil {
		return nil, nil //nolint:nilnil // no certificate is no error
	}
	if cert == nil || key == nil {
		return nil, fmt.Errorf("%s: %w: a certificate needs its key, and a key its certificate", field, providers.ErrInvalid)
	}
	read := func(ref esv1.SecretKeySelector, otherwise string) ([]byte, error) {
		if ref.Key == "" {
			ref.Key = otherwise
		}
		v, err := refs.Secret(ctx, ref)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", field, err)
		}
		return v.Bytes(), nil
	}
	chain, err := read(*cert, "tls.crt")
	if err != nil {
		return nil, err
	}
	secret, err := read(*key, "tls.key")
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(chain, secret)
	if err != nil {
		// The error of the parser is not repeated: it may hold a part of the key.
		return nil, fmt.Errorf("%s: %w: what it refers to is no PEM certificate with its key", field, providers.ErrInvalid)
	}
	return &pair, nil
}

// roots returns who may sign for the server; nil is the system's.
func roots(ctx context.Context, p *esv1.VaultProvider, refs providers.References) (*x509.CertPool, error) {
	field, bundle := "caBundle", p.CABundle
	if len(bundle) == 0 && p.CAProvider != nil {
		var err error
		field = "caProvider"
		if bundle, err = refs.CA(ctx, *p.CAProvider); err != nil {
			return nil, fmt.Errorf("spec.provider.vault.caProvider: %w", err)
		}
	}
	if len(bundle) == 0 && p.CAProvider == nil {
		return nil, nil
	}
	return providers.Authorities("spec.provider.vault."+field, bundle)
}

// request is what to send. path is below /v1/; body is nil or becomes JSON.
type request struct {
	method, path, namespace string
	query                   url.Values
	token                   providers.Value
	body                    any
	whole                   bool // the answer is to be kept as it came
}

// answer is what came back.
type answer struct {
	status   int
	wait     time.Duration   // that Retry-After asks for
	body     json.RawMessage // of a request that wants the whole
	Data     json.RawMessage `json:"data"`
	Auth     *auth           `json:"auth"`
	Errors   []string        `json:"errors"` // never quoted: they may repeat what was sent
	Warnings []string        `json:"warnings"`
}

// auth is the token of a login.
type auth struct {
	ClientToken   string `json:"client_token"`
	LeaseDuration int    `json:"lease_duration"` // seconds; 0: for ever
}

// do sends q. The answer may have any status that Vault itself gives; anything
// that is not from Vault is an error, so that no proxy can say that a secret
// is gone.
func (c *client) do(ctx context.Context, q request) (answer, error) {
	got, err := c.send(ctx, q)
	if got != nil {
		defer got.Body.Close()
	}
	if refused := new(api.ResponseError); err != nil && !errors.As(err, &refused) {
		return answer{}, c.unreached(ctx, err)
	}
	body, err := io.ReadAll(got.Body)
	defer clear(body)
	if err != nil {
		return answer{}, c.unreached(ctx, err)
	}
	a := answer{status: got.StatusCode, wait: retryAfter(got.Header)}
	if err := json.Unmarshal(body, &a); err != nil && (a.status == http.StatusOK || a.status == http.StatusNotFound) {
		return answer{}, c.stranger(a)
	}
	if a.status == http.StatusNotFound && a.Errors == nil && a.Warnings == nil && absent(a.Data) {
		return answer{}, c.stranger(a) // Vault has a list of errors, which may be empty, a warning, or says when it was deleted
	}
	if q.whole {
		a.body = slices.Clone(body)
	}
	return a, nil
}

// stranger says that an answer is not from Vault.
func (c *client) stranger(a answer) error {
	return fmt.Errorf("%w: what answers at %s with status %d is not Vault", providers.ErrUnavailable, c.address, a.status)
}

// send has the library send q. Its raw methods give the JSON of a secret as it
// is; the others round numbers, and drop the status.
func (c *client) send(ctx context.Context, q request) (*api.Response, error) {
	logical := c.as(q.namespace, q.token).Logical()
	switch q.method {
	case http.MethodGet:
		return logical.ReadRawWithDataWithContext(ctx, q.path, q.query) //nolint:wrapcheck // do says it in our words
	case http.MethodDelete:
		return logical.DeleteRawWithContext(ctx, q.path) //nolint:wrapcheck // as above
	}
	var body []byte
	if q.body != nil {
		var err error
		if body, err = json.Marshal(q.body); err != nil {
			return nil, errNoJSON
		}
	}
	return logical.WriteRawWithContext(ctx, q.path, body) //nolint:wrapcheck // as above
}

// errNoJSON says that what is to be sent has no form as JSON.
var errNoJSON = errors.New("no form as JSON")

// unreached says why there was no answer, in our words.
func (c *client) unreached(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("request to Vault at %s: %w", c.address, ctx.Err())
	}
	switch {
	case errors.Is(err, errNoJSON):
		return fmt.Errorf("%w: what is to be sent has no form as JSON", providers.ErrInvalid)
	case errors.Is(err, errTooLarge):
		return fmt.Errorf("%w: Vault at %s answers with more than %d MiB", providers.ErrInvalid, c.address, maxBody>>20)
	}
	return fmt.Errorf("%w: Vault at %s: %s", providers.ErrUnavailable, c.address, egress.Why(err, requestTimeout))
}

// unexpected says what a status means that no request is meant to get.
func (c *client) unexpected(a answer) error {
	switch {
	case a.status == http.StatusTooManyRequests:
		return fmt.Errorf("request to Vault at %s: %w", c.address, providers.Throttled{After: a.wait})
	case a.says("sealed"):
		return fmt.Errorf("%w: Vault at %s is sealed: unseal it", providers.ErrUnavailable, c.address)
	case a.says("upgrading"):
		return fmt.Errorf("%w: Vault at %s is still setting up the engine", providers.ErrUnavailable, c.address)
	case a.status >= 300 && a.status < 400:
		return fmt.Errorf("%w: Vault at %s redirects elsewhere (status %d), which is not followed: set spec.provider.vault.server to the address that serves",
			providers.ErrUnavailable, c.address, a.status)
	case a.status == http.StatusBadRequest:
		return fmt.Errorf("%w: Vault at %s refuses the request (status 400)", providers.ErrInvalid, c.address)
	}
	return fmt.Errorf("%w: Vault at %s answers with status %d", providers.ErrUnavailable, c.address, a.status)
}

// says reports whether an error of a has word in it.
func (a answer) says(word string) bool {
	return strings.Contains(strings.ToLower(strings.Join(a.Errors, "\n")), word)
}

// retryAfter reads the header of that name, in seconds; 0 if it has none.
func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.ParseUint(h.Get("Retry-After"), 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
