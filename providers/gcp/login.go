package gcp

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"cloud.google.com/go/compute/metadata"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/egress"
)

// loginLifetime is how long a JWT of Login is valid: Vault takes 15 minutes at
// most.
const loginLifetime = 10 * time.Minute

// Login returns how to get a JWT for audience that says which service account
// a store is, for a login such as that of Vault. The account is that of
// config.Provider.GCPSM: its key signs, or IAM signs for its workload identity;
// of neither, it is the identity of the machine, where config allows that.
// Errors name fields of spec.provider.gcpsm. Login itself sends nothing.
func (e Endpoints) Login(config providers.Config, audience string) (func(context.Context) (providers.Value, error), error) {
	roots, err := e.roots()
	if err != nil {
		return nil, err
	}
	p := config.Provider.GCPSM
	x := exchange{endpoints: e, refs: config.References, http: egress.Client(egress.Options{Roots: roots, LinkLocal: config.LinkLocal, Timeout: requestTimeout})}
	switch {
	case p.Auth.SecretRef != nil:
		return x.signedByKey(config, audience), nil
	case p.Auth.WorkloadIdentity != nil:
		return x.signedByIAM(config, audience)
	case config.Ambient:
		return func(ctx context.Context) (providers.Value, error) { return machine(ctx, audience) }, nil
	}
	return nil, fmt.Errorf("spec.provider.gcpsm.auth: %w: set secretRef or workloadIdentity; the controller's own identity is not for this store: it is for ClusterSecretStores, and for namespaces in --ambient-credentials-namespaces", providers.ErrInvalid)
}

func (x exchange) signedByKey(config providers.Config, audience string) func(context.Context) (providers.Value, error) {
	const field = "spec.provider.gcpsm.auth.secretRef.secretAccessKeySecretRef"
	return func(ctx context.Context) (providers.Value, error) {
		account, err := x.accountKey(ctx, config.Provider.GCPSM.Auth.SecretRef.SecretAccessKey)
		if err != nil {
			return providers.Value{}, fmt.Errorf("%s: %w", field, err)
		}
		signed, err := sign(account.Key, account.ID, map[string]any{"iss": account.Email, "sub": account.Email, "aud": audience})
		if err != nil {
			return providers.Value{}, fmt.Errorf("%s: %w", field, err)
		}
		return providers.NewValue([]byte(signed)), nil
	}
}

// signedByIAM has the IAM service sign as the service account that the
// ServiceAccount of the workload identity names.
// Source: https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/signJwt
func (x exchange) signedByIAM(config providers.Config, audience string) (func(context.Context) (providers.Value, error), error) {
	const field = "spec.provider.gcpsm.auth.workloadIdentity"
	w := config.Provider.GCPSM.Auth.WorkloadIdentity
	access, err := x.gke(w, config.Provider.GCPSM.ProjectID)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (providers.Value, error) {
		annotations, err := x.refs.Annotations(ctx, w.ServiceAccountRef)
		if err != nil {
			return providers.Value{}, fmt.Errorf("%s.serviceAccountRef: %w", field, err)
		}
		email := annotations[accountAnnotation]
		if !emails.MatchString(email) {
			return providers.Value{}, fmt.Errorf("%s.serviceAccountRef: %w: annotation %s of ServiceAccount %q names no service account, which is who signs",
				field, providers.ErrInvalid, accountAnnotation, w.ServiceAccountRef.Name)
		}
		t, err := access(ctx)
		if err != nil {
			return providers.Value{}, err
		}
		claims, err := json.Marshal(map[string]any{"sub": email, "aud": audience, "exp": time.Now().Add(loginLifetime).Unix()}) //nolint:forbidigo // Vault looks at this clock
		if err != nil {
			return providers.Value{}, fmt.Errorf("%s: %w: the audience has no form as JSON", field, providers.ErrInvalid)
		}
		signed, err := x.post(ctx, question{url: x.at(x.endpoints.IAM, "https://iamcredentials.googleapis.com") + "/v1/projects/-/serviceAccounts/" + email + ":signJwt",
			json: map[string]any{"payload": string(claims)}, bearer: t.value, who: "that identity to sign as " + email})
		return providers.NewValue([]byte(signed.value)), err
	}, nil
}

// machine asks the metadata service of the machine who it is.
// Source: https://cloud.google.com/compute/docs/instances/verifying-instance-identity
func machine(ctx context.Context, audience string) (providers.Value, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	jwt, err := metadata.GetWithContext(ctx, "instance/service-accounts/default/identity?format=full&audience="+url.QueryEscape(audience))
	if err != nil {
		return providers.Value{}, fmt.Errorf("%w: Google gives the controller no identity of its own: set auth, or run it where it has one", providers.ErrDenied)
	}
	return providers.NewValue([]byte(jwt)), nil
}
