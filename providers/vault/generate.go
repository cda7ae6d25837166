package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/providers"
)

// Generators returns what asks Vault for credentials that it makes, without
// identities of clouds.
func Generators() providers.Generators { return Clouds{}.Generators() }

// Generators is that of the package, with identities of clouds from c.
func (c Clouds) Generators() providers.Generators {
	return providers.Generators{genv1.VaultDynamicSecretKind: func(ctx context.Context, spec any, config providers.Config) (providers.Made, error) {
		s, ok := spec.(*genv1.VaultDynamicSecretSpec)
		if !ok || s.Provider == nil {
			return providers.Made{}, fmt.Errorf("spec.provider: %w: it is missing", providers.ErrInvalid)
		}
		made, err := dynamic(ctx, c, s, config)
		return made, move(err, inGenerator)
	}}
}

// inGenerator says in an error of this package where the fields of a generator
// are.
var inGenerator = strings.NewReplacer("spec.provider.vault.", "spec.provider.", "spec.provider.vault:", "spec.provider:")

// dynamic logs in, and asks once. The token is of its own, because what Vault
// makes ends with the token that it was asked for with.
func dynamic(ctx context.Context, clouds Clouds, s *genv1.VaultDynamicSecretSpec, config providers.Config) (providers.Made, error) {
	q, err := query(s)
	if err != nil {
		return providers.Made{}, err
	}
	config.Provider = &esv1.SecretStoreProvider{Vault: s.Provider}
	c, err := newClient(ctx, config, nil)
	if err != nil {
		return providers.Made{}, err
	}
	login, err := newLogin(ctx, c, config, clouds)
	if err != nil {
		return providers.Made{}, err
	}
	start := time.Now() //nolint:forbidigo // leases end by this clock
	by, err := login(ctx)
	if err != nil {
		return providers.Made{}, err
	}
	q.namespace, q.token = orEmpty(s.Provider.Namespace), by.value
	got, err := c.do(ctx, q)
	if err != nil {
		return providers.Made{}, err
	}
	values, err := map[string]providers.Value(nil), c.gave(got, s.Path)
	if err == nil {
		values, err = result(got, s)
	}
	if err != nil {
		c.revoke(ctx, s.Provider, by, err)
		return providers.Made{}, err
	}
	return providers.Made{Values: values, Until: ends(start, got, by)}, nil
}

// revoke ends a token of a login that led to nothing, and with it what was made
// but is not what the spec wants: tried again and again, both would pile up. A
// token of a Secret is someone else's to end.
func (c *client) revoke(ctx context.Context, p *esv1.VaultProvider, by token, why error) {
	if p.Auth == nil || p.Auth.TokenSecretRef != nil || errors.Is(why, providers.ErrThrottled) || errors.Is(why, providers.ErrUnavailable) {
		return
	}
	namespace := orEmpty(p.Namespace)
	if p.Auth.Namespace != nil {
		namespace = *p.Auth.Namespace
	}
	// If it does not work, the token ends by itself.
	_, _ = c.do(ctx, request{method: http.MethodPost, path: "auth/token/revoke-self", namespace: namespace, token: by.value})
}

// methods are those of Vault's API.
var methods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete, "LIST"}

// query is the request that a spec describes.
func query(s *genv1.VaultDynamicSecretSpec) (request, error) {
	q := request{method: strings.ToUpper(s.Method), path: strings.Trim(s.Path, "/"), whole: true}
	if q.method == "" {
		q.method = http.MethodGet
	}
	switch {
	case !slices.Contains(methods, q.method):
		return q, fmt.Errorf("spec.method: %w: %q is none of GET, LIST, POST, PUT and DELETE", providers.ErrInvalid, s.Method)
	case q.path == "" || strings.ContainsAny(q.path, "?#") || slices.Contains(strings.Split(q.path, "/"), ".."):
		return q, fmt.Errorf("spec.path: %w: %q is no path of Vault, such as database/creds/app", providers.ErrInvalid, s.Path)
	}
	switch q.method {
	case http.MethodGet:
		q.query = url.Values(s.GetParameters)
	case "LIST":
		q.method, q.query = http.MethodGet, url.Values{"list": {"true"}}
	}
	if s.Parameters != nil && (q.method == http.MethodPost || q.method == http.MethodPut) {
		body := map[string]any{}
		if err := json.Unmarshal(s.Parameters.Raw, &body); err != nil {
			return q, fmt.Errorf("spec.parameters: %w: it is no JSON object", providers.ErrInvalid)
		}
		q.body = body
	}
	return q, nil
}

// gave returns why an answer is none of an engine; nil if it is one, though
// perhaps with nothing in it.
func (c *client) gave(a answer, path string) error {
	switch {
	case a.status == http.StatusOK || a.status == http.StatusNoContent:
		return nil
	case a.status == http.StatusForbidden:
		return fmt.Errorf("%w: Vault at %s does not allow %s: add it to the policy of the role or token", providers.ErrDenied, c.address, path)
	case a.status == http.StatusNotFound && len(a.Errors) == 0:
		return nil
	case a.status == http.StatusNotFound:
		return fmt.Errorf("%w: Vault at %s has nothing at %s: enable the engine, or correct spec.path", providers.ErrDenied, c.address, path)
	}
	return c.unexpected(a)
}

// lease is what an answer says of how long it holds.
type lease struct {
	Duration int `json:"lease_duration"` // seconds; 0: for ever
}

// ends returns when what was made ends: with its lease, that of the token that
// was made, or the token that it was asked for with, whichever is first.
func ends(start time.Time, a answer, by token) time.Time {
	lives := by.ttl
	var l lease
	_ = json.Unmarshal(a.body, &l) // it has been parsed once already
	if a.Auth != nil && l.Duration == 0 {
		l.Duration = a.Auth.LeaseDuration
	}
	if own := time.Duration(l.Duration) * time.Second; own > 0 && (lives == 0 || own < lives) {
		lives = own
	}
	if lives == 0 {
		return time.Time{}
	}
	return start.Add(lives)
}

// result takes out of an answer what the spec wants.
func result(a answer, s *genv1.VaultDynamicSecretSpec) (map[string]providers.Value, error) {
	var parts struct {
		Data json.RawMessage `json:"data"`
		Auth json.RawMessage `json:"auth"`
	}
	_ = json.Unmarshal(a.body, &parts) // as above
	part := parts.Data
	switch s.ResultType {
	case "", genv1.VaultResultData:
	case genv1.VaultResultAuth:
		part = parts.Auth
	case genv1.VaultResultRaw:
		part = a.body
	default:
		return nil, fmt.Errorf("spec.resultType: %w: %q is none of Data, Auth and Raw", providers.ErrInvalid, s.ResultType)
	}
	if absent(part) {
		if s.AllowEmptyResponse {
			return map[string]providers.Value{}, nil
		}
		return nil, fmt.Errorf("%w: the answer to %s has no %s: set resultType to the part that has it, or allowEmptyResponse", providers.ErrInvalid, s.Path, s.ResultType)
	}
	values, err := providers.Object(part)
	if err != nil {
		return nil, fmt.Errorf("the answer to %s: %w", s.Path, err)
	}
	return values, nil
}
