package vault

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// Clouds are where the identities come from that auth.iam and auth.gcp show.
// They are backends of their own, so whoever knows both brings them. Of one that
// is nil there are no identities.
type Clouds struct {
	// AWS returns how the store of config, which names an identity in
	// config.Provider.AWS, signs a request of GetCallerIdentity with header.
	AWS func(config providers.Config) (func(ctx context.Context, header http.Header) (signed *http.Request, body string, err error), error)
	// GCP returns how the store of config, which names an identity in
	// config.Provider.GCPSM, gets a JWT for audience.
	GCP func(config providers.Config, audience string) (func(context.Context) (providers.Value, error), error)
}

// errNoCloud is about a login of a kind that this process has no cloud for.
var errNoCloud = fmt.Errorf("%w: there are no identities of this cloud here; use another way in", providers.ErrInvalid)

// serverID is the header that an auth method of AWS may insist on.
// Source: https://developer.hashicorp.com/vault/api-docs/auth/aws#iam_server_id_header_value
const serverID = "X-Vault-Aws-Iam-Server-Id"

// inIAM and inGCP say in an error of a cloud's package where its field is here.
var (
	inIAM = strings.NewReplacer("spec.provider.aws.auth.", "spec.provider.vault.auth.iam.", "spec.provider.aws.auth:", "spec.provider.vault.auth.iam:", "spec.provider.aws.", "spec.provider.vault.auth.iam.")
	inGCP = strings.NewReplacer("spec.provider.gcpsm.auth.", "spec.provider.vault.auth.gcp.", "spec.provider.gcpsm.auth:", "spec.provider.vault.auth.gcp:", "spec.provider.gcpsm.", "spec.provider.vault.auth.gcp.")
)

// moved is an error whose fields are somewhere else.
type moved struct {
	error
	to *strings.Replacer
}

func (m moved) Error() string { return m.to.Replace(m.error.Error()) }
func (m moved) Unwrap() error { return m.error }

func move(err error, to *strings.Replacer) error {
	if err == nil {
		return nil
	}
	return moved{err, to}
}

// iam logs in with an identity of AWS: a request of GetCallerIdentity that is
// signed here, and sent to AWS by the server.
func (a authenticator) iam(i *esv1.VaultIAMAuth, config providers.Config) (func(context.Context) (token, error), error) {
	if a.clouds.AWS == nil {
		return nil, fmt.Errorf("spec.provider.vault.auth.iam: %w", errNoCloud)
	}
	auth := esv1.AWSAuth{SecretRef: i.SecretRef}
	if i.JWT != nil { // it counts, as in External Secrets
		auth = esv1.AWSAuth{JWT: i.JWT}
	}
	config.Provider = &esv1.SecretStoreProvider{AWS: &esv1.AWSProvider{Region: i.Region, Role: i.Role, ExternalID: i.ExternalID, Auth: auth}}
	sign, err := a.clouds.AWS(config)
	if err != nil {
		return nil, move(err, inIAM)
	}
	header := http.Header{}
	if i.ServerID != "" {
		header.Set(serverID, i.ServerID)
	}
	return func(ctx context.Context) (token, error) {
		signed, body, err := sign(ctx, header)
		if err != nil {
			return token{}, move(fmt.Errorf("log in: %w", err), inIAM)
		}
		headers, err := json.Marshal(signed.Header)
		if err != nil {
			return token{}, fmt.Errorf("spec.provider.vault.auth.iam: %w: the signed request has no form as JSON", providers.ErrInvalid)
		}
		return a.login(ctx, mount(i.Path, "aws"), "login", fmt.Sprintf("the identity of AWS as role %q", i.VaultRole), map[string]string{
			"role":                    i.VaultRole,
			"iam_http_request_method": signed.Method,
			"iam_request_url":         base64.StdEncoding.EncodeToString([]byte(signed.URL.String())),
			"iam_request_headers":     base64.StdEncoding.EncodeToString(headers),
			"iam_request_body":        base64.StdEncoding.EncodeToString([]byte(body)),
		})
	}, nil
}

// gcp logs in with an identity of Google: a JWT that a service account has
// signed, or the machine.
func (a authenticator) gcp(g *esv1.VaultGCPAuth, config providers.Config) (func(context.Context) (token, error), error) {
	if g.ServiceAccountRef != nil && g.SecretRef == nil && g.WorkloadIdentity == nil && !config.Ambient {
		return nil, fmt.Errorf("spec.provider.vault.auth.gcp.serviceAccountRef: %w: a ServiceAccount is no identity of Google by itself: set workloadIdentity.serviceAccountRef, with the cluster", providers.ErrInvalid)
	}
	if a.clouds.GCP == nil {
		return nil, fmt.Errorf("spec.provider.vault.auth.gcp: %w", errNoCloud)
	}
	w := g.WorkloadIdentity
	if w != nil {
		w = w.DeepCopy()
		if w.ClusterLocation == "" {
			w.ClusterLocation = g.Location
		}
	}
	config.Provider = &esv1.SecretStoreProvider{GCPSM: &esv1.GCPProvider{
		ProjectID: g.ProjectID, Auth: esv1.GCPAuth{SecretRef: g.SecretRef, WorkloadIdentity: w},
	}}
	// Source: https://developer.hashicorp.com/vault/docs/auth/gcp#iam-login
	assertion, err := a.clouds.GCP(config, "vault/"+g.Role)
	if err != nil {
		return nil, move(err, inGCP)
	}
	return func(ctx context.Context) (token, error) {
		jwt, err := assertion(ctx)
		if err != nil {
			return token{}, move(fmt.Errorf("log in: %w", err), inGCP)
		}
		return a.login(ctx, mount(g.Path, "gcp"), "login", fmt.Sprintf("the identity of Google as role %q", g.Role),
			map[string]string{"role": g.Role, "jwt": string(jwt.Bytes())})
	}, nil
}
