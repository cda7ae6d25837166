package vault

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// defaultAudience is that of a token for the Kubernetes auth method, unless
// the ServiceAccount reference names others. Never is it the API server's own:
// the server that gets the token could act as the ServiceAccount with it.
const defaultAudience = "vault"

// checkServed returns an ErrInvalid that names a setting that is not served.
// checkAndSet is for writes: a Reader serves it by not writing.
func checkServed(p *esv1.VaultProvider) error {
	for _, setting := range []struct {
		field string
		set   bool
	}{
		{"tls", p.TLS != esv1.VaultTLS{}},
		{"readYourWrites", p.ReadYourWrites},
		{"forwardInconsistent", p.ForwardInconsistent},
		{"headers", len(p.Headers) > 0},
		{"version: " + string(p.Version), p.Version != "" && p.Version != esv1.VaultKVv1 && p.Version != esv1.VaultKVv2},
	} {
		if setting.set {
			return fmt.Errorf("spec.provider.vault.%s: %w: it is not supported; remove it", setting.field, providers.ErrInvalid)
		}
	}
	return nil
}

// authenticator logs in to one server.
type authenticator struct {
	client    *client
	refs      providers.References
	namespace string
}

// newLogin returns how to get a token: by the first method that is set, in the
// order that the API gives.
func newLogin(c *client, p *esv1.VaultProvider, refs providers.References) (func(context.Context) (token, error), error) {
	if p.Auth == nil {
		// A proxy in front of the server adds its own token.
		return func(context.Context) (token, error) { return token{}, nil }, nil
	}
	a := authenticator{client: c, refs: refs, namespace: orEmpty(p.Namespace)}
	if p.Auth.Namespace != nil {
		a.namespace = *p.Auth.Namespace
	}
	switch {
	case p.Auth.TokenSecretRef != nil:
		return a.static(*p.Auth.TokenSecretRef), nil
	case p.Auth.AppRole != nil:
		return a.appRole(p.Auth.AppRole)
	case p.Auth.Kubernetes != nil:
		return a.kubernetes(p.Auth.Kubernetes)
	}
	for _, method := range []struct {
		field string
		set   bool
	}{
		{".ldap", p.Auth.LDAP != nil}, {".userPass", p.Auth.UserPass != nil}, {".jwt", p.Auth.JWT != nil},
		{".cert", p.Auth.Cert != nil}, {".iam", p.Auth.IAM != nil}, {".gcp", p.Auth.GCP != nil},
	} {
		if method.set {
			return nil, fmt.Errorf("spec.provider.vault.auth%s: %w: it is not supported; use tokenSecretRef, appRole or kubernetes", method.field, providers.ErrInvalid)
		}
	}
	return nil, fmt.Errorf("spec.provider.vault.auth: %w: it is empty; set tokenSecretRef, appRole or kubernetes", providers.ErrInvalid)
}

// static takes the token from a Secret, anew each time: it may hold another.
func (a authenticator) static(ref esv1.SecretKeySelector) func(context.Context) (token, error) {
	return func(ctx context.Context) (token, error) {
		v, err := a.secret(ctx, "tokenSecretRef", ref)
		return token{value: v}, err
	}
}

func (a authenticator) appRole(r *esv1.VaultAppRole) (func(context.Context) (token, error), error) {
	if r.RoleID == "" && r.RoleRef == nil {
		return nil, fmt.Errorf("spec.provider.vault.auth.appRole: %w: set roleId or roleRef", providers.ErrInvalid)
	}
	return func(ctx context.Context) (token, error) {
		role := strings.TrimSpace(r.RoleID)
		if role == "" {
			v, err := a.secret(ctx, "appRole.roleRef", *r.RoleRef)
			if err != nil {
				return token{}, err
			}
			role = string(v.Bytes())
		}
		secret, err := a.secret(ctx, "appRole.secretRef", r.SecretRef)
		if err != nil {
			return token{}, err
		}
		return a.login(ctx, mount(r.Path, "approle"), "the role id and secret id", map[string]string{"role_id": role, "secret_id": string(secret.Bytes())})
	}, nil
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
		return a.login(ctx, mount(k.Path, "kubernetes"), fmt.Sprintf("%s as role %q", whose, k.Role), map[string]string{"role": k.Role, "jwt": string(jwt.Bytes())})
	}, nil
}

// serviceAccount returns a token of a ServiceAccount, and what to call it.
func (a authenticator) serviceAccount(ctx context.Context, k *esv1.VaultKubernetesAuth) (providers.Value, string, error) {
	if k.ServiceAccountRef == nil {
		ref := *k.SecretRef
		if ref.Key == "" {
			ref.Key = "token"
		}
		v, err := a.secret(ctx, "kubernetes.secretRef", ref)
		return v, fmt.Sprintf("the token in Secret %q", ref.Name), err
	}
	audiences := k.ServiceAccountRef.Audiences
	if len(audiences) == 0 {
		audiences = []string{defaultAudience}
	}
	v, _, err := a.refs.Token(ctx, *k.ServiceAccountRef, audiences)
	if err != nil {
		return providers.Value{}, "", fmt.Errorf("spec.provider.vault.auth.kubernetes.serviceAccountRef: %w", err)
	}
	return v, fmt.Sprintf("ServiceAccount %q with audience %s", k.ServiceAccountRef.Name, strings.Join(audiences, ", ")), nil
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

// login posts credentials to the auth method at mount. who describes them.
func (a authenticator) login(ctx context.Context, mount, who string, credentials map[string]string) (token, error) {
	got, err := a.client.do(ctx, request{method: http.MethodPost, path: "auth/" + mount + "/login", namespace: a.namespace, body: credentials})
	if err != nil {
		return token{}, fmt.Errorf("log in: %w", err)
	}
	switch {
	case got.status == http.StatusOK && got.Auth != nil && got.Auth.ClientToken != "":
		return token{value: providers.NewValue([]byte(got.Auth.ClientToken)), ttl: time.Duration(got.Auth.LeaseDuration) * time.Second}, nil
	case got.status == http.StatusOK:
		return token{}, fmt.Errorf("log in: %w: Vault at %s gave no token at auth/%s", providers.ErrUnavailable, a.client.address, mount)
	case got.status == http.StatusNotFound:
		return token{}, fmt.Errorf("log in: %w: Vault at %s has no auth method at auth/%s: enable it, or correct its path", providers.ErrDenied, a.client.address, mount)
	case (got.status == http.StatusBadRequest || got.status == http.StatusForbidden) && !got.says("sealed"):
		return token{}, fmt.Errorf("log in: %w: Vault at %s does not accept %s at auth/%s", providers.ErrDenied, a.client.address, who, mount)
	}
	return token{}, fmt.Errorf("log in: %w", a.client.unexpected(got))
}
