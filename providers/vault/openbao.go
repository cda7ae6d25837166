package vault

import (
	"context"
	"fmt"
	"strings"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// inOpenBao says in an error of this package where the fields of openBao are.
var inOpenBao = strings.NewReplacer("spec.provider.vault.", "spec.provider.openBao.", "spec.provider.vault:", "spec.provider.openBao:", "Vault at ", "OpenBao at ")

// OpenBao opens stores of the provider openBao, which is vault with fewer
// settings.
func OpenBao(ctx context.Context, config providers.Config) (providers.Reader, error) {
	p := config.Provider.OpenBao
	if p == nil {
		return nil, fmt.Errorf("spec.provider.openBao: %w: it is missing", providers.ErrInvalid)
	}
	auth, err := openBaoAuth(p.Auth)
	if err != nil {
		return nil, err
	}
	config.Provider = &esv1.SecretStoreProvider{Vault: &esv1.VaultProvider{
		Server: p.Server, Auth: auth, Path: p.Path, Version: p.Version, Namespace: p.Namespace, CABundle: p.CABundle, CAProvider: p.CAProvider,
	}}
	listening, heard := providers.Listen(ctx)
	r, err := open(listening, Clouds{}, config)
	if err != nil {
		return nil, move(err, inOpenBao)
	}
	for _, warning := range heard.All() {
		providers.Warn(ctx, inOpenBao.Replace(warning))
	}
	r.words = inOpenBao
	return r, nil
}

// openBaoAuth wants one way in: of several, nobody could say which is meant.
func openBaoAuth(a *esv1.OpenBaoAuth) (*esv1.VaultAuth, error) {
	if a == nil {
		return nil, nil //nolint:nilnil // a proxy adds the token
	}
	set := 0
	for _, is := range []bool{a.TokenSecretRef != nil, a.AppRole != nil, a.Kubernetes != nil, a.UserPass != nil} {
		if is {
			set++
		}
	}
	if set != 1 {
		return nil, fmt.Errorf("spec.provider.openBao.auth: %w: set one of tokenSecretRef, appRole, kubernetes, userPass", providers.ErrInvalid)
	}
	return &esv1.VaultAuth{Namespace: a.Namespace, TokenSecretRef: a.TokenSecretRef, AppRole: a.AppRole, Kubernetes: a.Kubernetes, UserPass: a.UserPass}, nil
}
