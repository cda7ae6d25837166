package vault

import (
	"context"
	"fmt"
	"strings"

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

// jwt logs in with a token of an issuer that the server trusts.
func (a authenticator) jwt(j *esv1.VaultJWTAuth) (func(context.Context) (token, error), error) {
	if j.SecretRef == nil && j.KubernetesServiceAccountToken == nil {
		return nil, fmt.Errorf("spec.provider.vault.auth.jwt: %w: set kubernetesServiceAccountToken or secretRef", providers.ErrInvalid)
	}
	return func(ctx context.Context) (token, error) {
		var jwt providers.Value
		var whose string
		var err error
		if k := j.KubernetesServiceAccountToken; k != nil {
			jwt, whose, err = a.tokenOf(ctx, "jwt.kubernetesServiceAccountToken.serviceAccountRef", k.ServiceAccountRef, k.Audiences)
		} else {
			jwt, whose, err = a.tokenIn(ctx, "jwt.secretRef", *j.SecretRef)
		}
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
