package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/lockstep-dev/lockstep/providers"
)

// New returns the backend whose stores get identities of clouds from c.
func New(c Clouds) providers.Open {
	return func(ctx context.Context, config providers.Config) (providers.Reader, error) {
		return opened(open(ctx, c, config))
	}
}

// opened keeps a reader that is nil from passing for a Reader.
func opened(r *reader, err error) (providers.Reader, error) {
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Open is New without identities of clouds.
func Open(ctx context.Context, config providers.Config) (providers.Reader, error) {
	return opened(open(ctx, Clouds{}, config))
}

// open checks the settings and logs in. A setting that it does not serve is an
// ErrInvalid that names it.
func open(ctx context.Context, clouds Clouds, config providers.Config) (*reader, error) {
	p := config.Provider.Vault
	if p == nil {
		return nil, fmt.Errorf("spec.provider.vault: %w: it is missing", providers.ErrInvalid)
	}
	if err := checkServed(p); err != nil {
		return nil, err
	}
	c, err := newClient(ctx, config, nil)
	if err != nil {
		return nil, err
	}
	login, err := newLogin(ctx, c, config, clouds)
	if err != nil {
		return nil, err
	}
	s := &session{login: login, clock: time.Now} //nolint:forbidigo // a Config has no clock, and tokens end by this one
	r := &reader{client: c, engine: newEngine(p), namespace: orEmpty(p.Namespace), session: s}
	if _, err := r.session.token(ctx, providers.Value{}); err != nil {
		return nil, err
	}
	return r, nil
}

// reader reads the secrets of one store.
type reader struct {
	client    *client
	engine    engine
	namespace string
	session   *session
	words     *strings.Replacer // of errors, if the store is not called vault
}

// told puts err in the words of the store.
func (r *reader) told(err error) error {
	if r.words == nil {
		return err
	}
	return move(err, r.words)
}

// Read implements providers.Reader. The value is the JSON object that the
// secret holds. It takes one request while the token is valid.
func (r *reader) Read(ctx context.Context, ref providers.Ref) (providers.Value, error) {
	v, err := r.read(ctx, ref)
	return v, r.told(err)
}

func (r *reader) read(ctx context.Context, ref providers.Ref) (providers.Value, error) {
	v, err := r.whole(ctx, ref)
	if err == nil && !r.engine.versioned {
		v, _ = unmarked(v)
	}
	return v, err
}

// whole reads a secret with the mark of a Writer, where that is a part of it.
func (r *reader) whole(ctx context.Context, ref providers.Ref) (providers.Value, error) {
	where, err := r.engine.locate(ref)
	if err != nil {
		return providers.Value{}, err
	}
	a, err := r.send(ctx, request{method: http.MethodGet, path: where.path, query: where.query})
	if err != nil {
		return providers.Value{}, fmt.Errorf("read secret %q: %w", ref.Path, err)
	}
	v, err := r.value(a, where)
	if err != nil {
		return providers.Value{}, fmt.Errorf("read secret %q: %w", ref.Path, err)
	}
	return v, nil
}

// send sends q in the namespace of the engine, with a token that is valid.
func (r *reader) send(ctx context.Context, q request) (answer, error) {
	token, err := r.session.token(ctx, providers.Value{})
	if err != nil {
		return answer{}, err
	}
	q.namespace, q.token = r.namespace, token
	a, err := r.client.do(ctx, q)
	if err == nil && a.status == http.StatusForbidden {
		return r.again(ctx, q, a)
	}
	return a, err
}

// again repeats a request that was denied if that was because of its token: a
// token that was revoked is denied as one is that lacks a right.
func (r *reader) again(ctx context.Context, get request, denied answer) (answer, error) {
	if len(get.token.Bytes()) == 0 {
		return denied, nil // the token is a proxy's
	}
	alive, err := r.client.do(ctx, request{method: http.MethodGet, path: "auth/token/lookup-self", namespace: get.namespace, token: get.token})
	if err != nil || alive.status == http.StatusOK {
		return denied, err
	}
	token, err := r.session.token(ctx, get.token)
	if err != nil {
		return answer{}, err
	}
	if token.Equal(get.token) {
		return answer{}, fmt.Errorf("%w: Vault at %s does not accept the token: it has expired or was revoked; write a new one to the Secret of auth.tokenSecretRef",
			providers.ErrDenied, r.client.address)
	}
	get.token = token
	return r.client.do(ctx, get)
}

// value takes the secret out of an answer.
func (r *reader) value(a answer, where location) (providers.Value, error) {
	if err := r.refused(a, where); err != nil {
		return providers.Value{}, err
	}
	data := a.Data
	if absent(data) || data[0] != '{' {
		return providers.Value{}, r.client.stranger(a)
	}
	if r.engine.versioned {
		var secret struct {
			Data     json.RawMessage `json:"data"`
			Metadata json.RawMessage `json:"metadata"`
		}
		if err := json.Unmarshal(a.Data, &secret); err != nil || secret.Metadata == nil {
			return providers.Value{}, fmt.Errorf("%w: the KV engine %q of Vault at %s has version 1: set spec.provider.vault.version to v1",
				providers.ErrInvalid, where.mount, r.client.address)
		}
		data = secret.Data
	}
	if absent(data) {
		return providers.Value{}, fmt.Errorf("%w: it was deleted from the KV engine %q of Vault at %s", providers.ErrNotFound, where.mount, r.client.address)
	}
	return providers.NewValue(data), nil
}

// refused returns why a is no answer with a secret in it; nil if it is one.
func (r *reader) refused(a answer, where location) error {
	at := r.client.address
	switch {
	case a.status == http.StatusOK:
		return nil
	case a.status == http.StatusForbidden:
		return fmt.Errorf("%w: Vault at %s does not allow to read %s: add it to the policy of the role or token", providers.ErrDenied, at, where.path)
	case a.status != http.StatusNotFound:
		return r.client.unexpected(a)
	case len(a.Warnings) > 0 && absent(a.Data):
		// What an engine of version 2 answers to a path of version 1.
		return fmt.Errorf("%w: the KV engine %q of Vault at %s has version 2: set spec.provider.vault.version to v2", providers.ErrInvalid, where.mount, at)
	case len(a.Errors) > 0:
		// Not an ErrNotFound: a missing engine must not look like a deleted
		// secret. Not an ErrInvalid either: it may be mounted later.
		return fmt.Errorf("%w: Vault at %s has no engine at %q: set spec.provider.vault.path to where it is mounted, or mount it", providers.ErrDenied, at, where.mount)
	}
	if where.query != nil {
		return fmt.Errorf("%w: no such version in the KV engine %q of Vault at %s", providers.ErrNotFound, where.mount, at)
	}
	return fmt.Errorf("%w: not in the KV engine %q of Vault at %s", providers.ErrNotFound, where.mount, at)
}

// absent reports whether there is nothing but a null.
func absent(data json.RawMessage) bool { return len(data) == 0 || bytes.Equal(data, []byte("null")) }

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
