package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// defaultAudience is that of a token for the Kubernetes auth method, unless
// the ServiceAccount reference names others. Never is it the API server's own:
// the server that gets the token could act as the ServiceAccount with it.
const defaultAudience = "vault"

// checkServed returns an ErrInvalid that names a setting that is not served.
func checkServed(p *esv1.VaultProvider) error {
	if p.Version != "" && p.Version != esv1.VaultKVv1 && p.Version != esv1.VaultKVv2 {
		return fmt.Errorf("spec.provider.vault.version: %w: %q is neither v1 nor v2", providers.ErrInvalid, p.Version)
	}
	if p.Version == esv1.VaultKVv1 && p.CheckAndSet != nil && p.CheckAndSet.Required {
		return fmt.Errorf("spec.provider.vault.checkAndSet.required: %w: a KV engine of version 1 keeps no versions; remove it", providers.ErrInvalid)
	}
	return nil
}

// authenticator logs in to one server.
type authenticator struct {
	client    *client
	refs      providers.References
	namespace string
	clouds    Clouds
}

// newLogin returns how to get a token: by the first method that is set, in the
// order that the API gives.
func newLogin(ctx context.Context, c *client, config providers.Config, clouds Clouds) (func(context.Context) (token, error), error) {
	p := config.Provider.Vault
	for _, idle := range idleSettings(p, config.Ambient) {
		providers.Warn(ctx, "spec.provider.vault."+idle.field+": it makes no difference: "+idle.why)
	}
	if p.Auth == nil {
		// A proxy in front of the server adds its own token.
		return func(context.Context) (token, error) { return token{}, nil }, nil
	}
	a := authenticator{client: c, refs: config.References, namespace: orEmpty(p.Namespace), clouds: clouds}
	if p.Auth.Namespace != nil {
		a.namespace = *p.Auth.Namespace
	}
	switch auth := p.Auth; {
	case auth.TokenSecretRef != nil:
		return a.static(*auth.TokenSecretRef), nil
	case auth.AppRole != nil:
		return a.appRole(auth.AppRole)
	case auth.Kubernetes != nil:
		return a.kubernetes(auth.Kubernetes)
	case auth.LDAP != nil:
		return a.password("ldap", auth.LDAP.Path, auth.LDAP.Username, auth.LDAP.SecretRef)
	case auth.UserPass != nil:
		return a.password("userPass", auth.UserPass.Path, auth.UserPass.Username, auth.UserPass.SecretRef)
	case auth.JWT != nil:
		return a.jwt(auth.JWT)
	case auth.Cert != nil:
		return a.cert(ctx, auth.Cert, config)
	case auth.IAM != nil:
		return a.iam(auth.IAM, config)
	case auth.GCP != nil:
		return a.gcp(auth.GCP, config)
	}
	return nil, fmt.Errorf("spec.provider.vault.auth: %w: it is empty; set one of tokenSecretRef, appRole, kubernetes, ldap, userPass, jwt, cert, iam, gcp", providers.ErrInvalid)
}

// static takes the token from a Secret, anew each time: it may hold another.
// It may also hold one that wraps the token, and that no other request may be
// made with: it works once, and for nothing else.
func (a authenticator) static(ref esv1.SecretKeySelector) func(context.Context) (token, error) {
	return func(ctx context.Context) (token, error) {
		v, err := a.secret(ctx, "tokenSecretRef", ref)
		if err != nil {
			return token{}, err
		}
		if got, ok := a.unwrap(ctx, v); ok && got.Auth != nil && got.Auth.ClientToken != "" {
			return got.Auth.token(), nil
		}
		return token{value: v}, nil
	}
}

// unwrap returns what a token wraps; false if it is no such token, or used.
func (a authenticator) unwrap(ctx context.Context, wrapping providers.Value) (answer, bool) {
	got, err := a.client.do(ctx, request{method: http.MethodPost, path: "sys/wrapping/unwrap", namespace: a.namespace, token: wrapping})
	return got, err == nil && got.status == http.StatusOK
}

func (a authenticator) appRole(r *esv1.VaultAppRole) (func(context.Context) (token, error), error) {
	if r.RoleID == "" && r.RoleRef == nil {
		return nil, fmt.Errorf("spec.provider.vault.auth.appRole: %w: set roleId or roleRef", providers.ErrInvalid)
	}
	var unwrapped atomic.Value // the secret id that the Secret held wrapped, a string
	return func(ctx context.Context) (token, error) {
		role, err := a.roleID(ctx, r)
		if err != nil {
			return token{}, err
		}
		secret, err := a.secret(ctx, "appRole.secretRef", r.SecretRef)
		if err != nil {
			return token{}, err
		}
		login := func(id string) (token, error) {
			return a.login(ctx, mount(r.Path, "approle"), "login", "the role id and secret id", map[string]string{"role_id": role, "secret_id": id})
		}
		if id, ok := unwrapped.Load().(string); ok {
			if t, err := login(id); err == nil {
				return t, nil
			}
		}
		t, err := login(string(secret.Bytes()))
		if !errors.Is(err, providers.ErrDenied) {
			return t, err
		}
		id := a.unwrapSecretID(ctx, secret)
		if id == "" {
			return t, err
		}
		unwrapped.Store(id)
		return login(id)
	}, nil
}

func (a authenticator) roleID(ctx context.Context, r *esv1.VaultAppRole) (string, error) {
	if role := strings.TrimSpace(r.RoleID); role != "" {
		return role, nil
	}
	if r.RoleRef == nil {
		return "", fmt.Errorf("spec.provider.vault.auth.appRole.roleId: %w: it is empty", providers.ErrInvalid)
	}
	v, err := a.secret(ctx, "appRole.roleRef", *r.RoleRef)
	return string(v.Bytes()), err
}

// unwrapSecretID returns the secret id that a token wraps; nothing if it is no
// such token. It works once.
func (a authenticator) unwrapSecretID(ctx context.Context, wrapping providers.Value) string {
	got, ok := a.unwrap(ctx, wrapping)
	if !ok {
		return ""
	}
	var data struct {
		SecretID string `json:"secret_id"`
	}
	if err := json.Unmarshal(got.Data, &data); err != nil {
		return ""
	}
	return data.SecretID
}

func (a authenticator) kubernetes(k *esv1.VaultKubernetesAuth) (func(context.Context) (token, error), error) {
	if k.ServiceAccountRef == nil && k.SecretRef == nil {
		return nil, fmt.Errorf("spec.provider.vault.auth.kubernetes: %w: set serviceAccountRef or secretRef; the controller's own token is never sent", providers.ErrInvalid)
	}
	return func(ctx context.Context) (token, error) {
		jwt, whose, err := a.serviceAccount(ctx, k)
		if err != nil {
			return token{}, err
		}
		return a.login(ctx, mount(k.Path, "kubernetes"), "login", fmt.Sprintf("%s as role %q", whose, k.Role), map[string]string{"role": k.Role, "jwt": string(jwt.Bytes())})
	}, nil
}

// serviceAccount returns a token of a ServiceAccount, and what to call it.
func (a authenticator) serviceAccount(ctx context.Context, k *esv1.VaultKubernetesAuth) (providers.Value, string, error) {
	if k.ServiceAccountRef == nil {
		return a.tokenIn(ctx, "kubernetes.secretRef", *k.SecretRef)
	}
	return a.tokenOf(ctx, "kubernetes.serviceAccountRef", *k.ServiceAccountRef, 0)
}

// tokenIn returns the token in a Secret, and what to call it.
func (a authenticator) tokenIn(ctx context.Context, field string, ref esv1.SecretKeySelector) (providers.Value, string, error) {
	if ref.Key == "" {
		ref.Key = "token"
	}
	v, err := a.secret(ctx, field, ref)
	return v, fmt.Sprintf("the token in Secret %q", ref.Name), err
}

// tokenOf returns a new token of a ServiceAccount, and what to call it.
func (a authenticator) tokenOf(ctx context.Context, field string, ref esv1.ServiceAccountSelector, lifetime time.Duration) (providers.Value, string, error) {
	audiences := ref.Audiences
	if len(audiences) == 0 {
		audiences = []string{defaultAudience}
	}
	v, _, err := a.refs.Token(ctx, ref, audiences, lifetime)
	if err != nil {
		return providers.Value{}, "", fmt.Errorf("spec.provider.vault.auth.%s: %w", field, err)
	}
	return v, fmt.Sprintf("ServiceAccount %q with audience %s", ref.Name, strings.Join(audiences, ", ")), nil
}

// secret reads a credential. White space around it is cut off: no credential
// of Vault has any, and editors leave a newline.
func (a authenticator) secret(ctx context.Context, field string, ref esv1.SecretKeySelector) (providers.Value, error) {
	v, err := a.refs.Secret(ctx, ref)
	if err != nil {
		return providers.Value{}, fmt.Errorf("spec.provider.vault.auth.%s: %w", field, err)
	}
	trimmed := bytes.TrimSpace(v.Bytes())
	if len(trimmed) == 0 || bytes.ContainsAny(trimmed, "\r\n\x00") {
		return providers.Value{}, fmt.Errorf("spec.provider.vault.auth.%s: %w: what it refers to is empty or has several lines", field, providers.ErrInvalid)
	}
	return providers.NewValue(trimmed), nil
}

func mount(path, otherwise string) string {
	if path = strings.Trim(path, "/"); path != "" {
		return path
	}
	return otherwise
}

// login posts credentials to path of the auth method at mount. who describes
// them.
func (a authenticator) login(ctx context.Context, mount, path, who string, credentials map[string]string) (token, error) {
	got, err := a.client.do(ctx, request{method: http.MethodPost, path: "auth/" + mount + "/" + path, namespace: a.namespace, body: credentials})
	if err != nil {
		return token{}, fmt.Errorf("log in: %w", err)
	}
	switch {
	case got.status == http.StatusOK && got.Auth != nil && got.Auth.ClientToken != "":
		return got.Auth.token(), nil
	case got.status == http.StatusOK:
		return token{}, fmt.Errorf("log in: %w: Vault at %s gave no token at auth/%s", providers.ErrUnavailable, a.client.address, mount)
	case got.status == http.StatusNotFound:
		return token{}, fmt.Errorf("log in: %w: Vault at %s has no auth method at auth/%s: enable it, or correct its path", providers.ErrDenied, a.client.address, mount)
	case (got.status == http.StatusBadRequest || got.status == http.StatusForbidden) && !got.says("sealed"):
		return token{}, fmt.Errorf("log in: %w: Vault at %s does not accept %s at auth/%s", providers.ErrDenied, a.client.address, who, mount)
	}
	return token{}, fmt.Errorf("log in: %w", a.client.unexpected(got))
}

// token is the one that a login gave, and for how long.
func (a *auth) token() token {
	return token{value: providers.NewValue([]byte(a.ClientToken)), ttl: time.Duration(a.LeaseDuration) * time.Second}
}
