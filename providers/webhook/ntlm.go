package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	ntlmssp "github.com/Azure/go-ntlmssp"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/egress"
)

// ntlm checks the settings of a user of Windows.
func (r *reader) ntlm(p *esv1.WebhookProvider) error {
	if p.Auth == nil {
		return nil
	}
	if p.Auth.NTLM == nil {
		return fmt.Errorf("spec.provider.webhook.auth: %w: it is empty: set ntlm, or remove it", providers.ErrInvalid)
	}
	for name := range p.Headers {
		if strings.EqualFold(name, "Authorization") {
			return fmt.Errorf("spec.provider.webhook.headers.%s: %w: auth.ntlm sets it: remove one of them", name, providers.ErrInvalid)
		}
	}
	r.windows = p.Auth.NTLM
	return nil
}

// user reads who logs in, anew each time: a Secret may hold another by now.
func (r *reader) user(ctx context.Context) (name, password string, err error) {
	read := func(field string, ref esv1.SecretKeySelector) string {
		v, failed := r.refs.Secret(ctx, ref)
		text := strings.TrimRight(string(v.Bytes()), "\r\n") // editors leave a newline
		if failed == nil && text == "" {
			failed = fmt.Errorf("%w: it is empty", providers.ErrInvalid)
		}
		if failed != nil && err == nil {
			err = fmt.Errorf("spec.provider.webhook.auth.ntlm.%s: %w", field, failed)
		}
		return text
	}
	name = read("usernameSecret", r.windows.UserName)
	password = read("passwordSecret", r.windows.Password)
	return name, password, err
}

// as makes a request that of a user of Windows. What is set here is what the
// library looks for: it takes it off before it sends anything.
func (r *reader) as(ctx context.Context, sent *http.Request) error {
	name, password, err := r.user(ctx)
	sent.SetBasicAuth(name, password)
	return err
}

// do sends a request, as a user of Windows if the store has one. NTLM lets in a
// connection and not a request, so each request has a connection of its own,
// which ends with it. The password itself is never sent, neither is a hash of
// it: the server gets an answer to its challenge.
// Source: MS-NLMP, section 3.3.2
func (r *reader) do(sent *http.Request) (got *http.Response, err error) {
	defer func() { providers.Count(providers.Call{Provider: "Webhook", Name: "HTTPRequest", Failed: err != nil}) }()
	if r.windows == nil {
		return r.http.Do(sent) //nolint:wrapcheck // send says it in our words
	}
	wire := r.wire
	wire.Single = true
	bare := egress.Client(wire)
	defer bare.CloseIdleConnections()
	steps := &noted{next: bare.Transport}
	client := *bare
	client.Transport = ntlmssp.Negotiator{RoundTripper: steps}
	got, err = client.Do(sent)
	if err == nil && steps.err != nil {
		_ = got.Body.Close() // it is in memory
		return nil, steps.err
	}
	return got, err //nolint:wrapcheck // send says it in our words
}

// noted remembers what the library does not tell: that a step of the handshake
// had no answer. It reads each answer to its end, so that the connection is free
// for the next step.
type noted struct {
	next http.RoundTripper
	err  error
}

// RoundTrip implements http.RoundTripper.
func (n *noted) RoundTrip(r *http.Request) (*http.Response, error) {
	got, err := n.next.RoundTrip(r)
	if err != nil {
		n.err = err
		return nil, err //nolint:wrapcheck // http.Client wraps it
	}
	body, err := io.ReadAll(io.LimitReader(got.Body, maxBody+1))
	n.err = errors.Join(err, got.Body.Close())
	if n.err != nil {
		return nil, n.err
	}
	got.Body = io.NopCloser(bytes.NewReader(body))
	return got, nil
}
