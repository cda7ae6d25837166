package vault

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// password logs in as a user of the server or of a directory: both methods
// speak alike. field is that of the API, which is the name of the method, too.
func (a authenticator) password(field, path, user string, ref esv1.SecretKeySelector) (func(context.Context) (token, error), error) {
	user = strings.TrimSpace(user)
	if user == "" || strings.ContainsAny(user, "/?#%") || strings.Trim(user, ".") == "" {
		return nil, fmt.Errorf("spec.provider.vault.auth.%s.username: %w: it is empty, or has a character that no path can have", field, providers.ErrInvalid)
	}
	return func(ctx context.Context) (token, error) {
		v, err := a.secret(ctx, field+".secretRef", ref)
		if err != nil {
			return token{}, err
		}
		return a.login(ctx, mount(path, strings.ToLower(field)), "login/"+user, fmt.Sprintf("user %q with the password in Secret %q", user, ref.Name),
			map[string]string{"password": string(v.Bytes())})
	}, nil
}

// shortestToken and longestToken are how long a token of a ServiceAccount can
// be asked to live, in seconds.
// Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/authentication/validation/validation.go
const (
	shortestToken = 600
	longestToken  = 1 << 32
)

// jwt logs in with a token of an issuer that the server trusts.
func (a authenticator) jwt(j *esv1.VaultJWTAuth) (func(context.Context) (token, error), error) {
	if j.SecretRef == nil && j.KubernetesServiceAccountToken == nil {
		return nil, fmt.Errorf("spec.provider.vault.auth.jwt: %w: set kubernetesServiceAccountToken or secretRef", providers.ErrInvalid)
	}
	from := func(ctx context.Context) (providers.Value, string, error) {
		return a.tokenIn(ctx, "jwt.secretRef", *j.SecretRef)
	}
	if j.SecretRef == nil {
		k := j.KubernetesServiceAccountToken
		if s := k.ExpirationSeconds; s != nil && (*s < shortestToken || *s > longestToken) {
			return nil, fmt.Errorf("spec.provider.vault.auth.jwt.kubernetesServiceAccountToken.expirationSeconds: %w: an API server makes tokens for %d to %d seconds", providers.ErrInvalid, shortestToken, longestToken)
		}
		from = func(ctx context.Context) (providers.Value, string, error) { return a.accountToken(ctx, k) }
	}
	return func(ctx context.Context) (token, error) {
		jwt, whose, err := from(ctx)
		if err != nil {
			return token{}, err
		}
		credentials := map[string]string{"jwt": string(jwt.Bytes())}
		if j.Role != "" {
			credentials["role"] = j.Role
		}
		return a.login(ctx, mount(j.Path, "jwt"), "login", fmt.Sprintf("%s as role %q", whose, j.Role), credentials)
	}, nil
}

// accountToken returns a new token as a JWT login wants it. Like External
// Secrets, it is for Vault and for those of the ServiceAccount reference.
func (a authenticator) accountToken(ctx context.Context, k *esv1.VaultServiceAccountToken) (providers.Value, string, error) {
	ref, wanted := k.ServiceAccountRef, k.Audiences
	if wanted == nil {
		wanted = []string{defaultAudience}
	}
	ref.Audiences = append(slices.Clone(ref.Audiences), wanted...)
	lifetime := time.Duration(0)
	if k.ExpirationSeconds != nil {
		lifetime = time.Duration(*k.ExpirationSeconds) * time.Second
	}
	return a.tokenOf(ctx, "jwt.kubernetesServiceAccountToken.serviceAccountRef", ref, lifetime)
}

// cert logs in with a client certificate, which is shown for that only.
func (a authenticator) cert(ctx context.Context, c *esv1.VaultCertAuth, config providers.Config) (func(context.Context) (token, error), error) {
	pair, err := certificate(ctx, "spec.provider.vault.auth.cert", &c.ClientCert, &c.SecretRef, a.refs)
	if err != nil {
		return nil, err
	}
	if a.client, err = newClient(ctx, config, pair); err != nil {
		return nil, err
	}
	credentials := map[string]string{}
	if c.VaultRole != "" {
		credentials["name"] = c.VaultRole
	}
	return func(ctx context.Context) (token, error) {
		return a.login(ctx, mount(c.Path, "cert"), "login", "the client certificate", credentials)
	}, nil
}
