package aws

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// Endpoints are where the services are, if not where AWS has them: behind a
// VPC endpoint with a name of its own, or in a test. The zero value is AWS.
type Endpoints struct {
	// SecretsManager and STS are URLs. Empty: AWS's, for the store's region.
	SecretsManager, STS string
	// CA is PEM certificates that sign for both. Empty: those of the system.
	CA []byte
}

// New returns the backend that talks to e.
func New(e Endpoints) providers.Open {
	return func(ctx context.Context, config providers.Config) (providers.Reader, error) {
		return open(ctx, e, config)
	}
}

// open checks the settings and gets credentials. It serves the service
// SecretsManager, with the auth methods secretRef and jwt, and roles assumed
// after that; any other setting that it does not serve is an ErrInvalid that
// names it.
func open(ctx context.Context, e Endpoints, config providers.Config) (providers.Reader, error) {
	p := config.Provider.AWS
	if p == nil {
		return nil, fmt.Errorf("spec.provider.aws: %w: it is missing", providers.ErrInvalid)
	}
	if err := checkServed(p); err != nil {
		return nil, err
	}
	web, err := newHTTPClient(e.CA)
	if err != nil {
		return nil, err
	}
	keys, err := newCredentials(p, config.References, stsAt{web: web, region: p.Region, endpoint: e.STS})
	if err != nil {
		return nil, err
	}
	r := &reader{prefix: p.Prefix, region: p.Region, keys: keys}
	r.client = secretsmanager.New(secretsmanager.Options{
		Region: p.Region, Credentials: keys, HTTPClient: web, HTTPSignerV4: signer{}, BaseEndpoint: endpoint(e.SecretsManager),
		// The controllers decide when to try again, for all stores alike.
		Retryer: aws.NopRetryer{},
	})
	if _, err := keys.Retrieve(ctx); err != nil {
		return nil, r.classify(ctx, err)
	}
	return r, nil
}

func endpoint(url string) *string {
	if url == "" {
		return nil
	}
	return &url
}

// regions are all that AWS has, in any partition: eu-central-1, us-gov-west-1.
// A region becomes part of a host name.
var regions = regexp.MustCompile(`^[a-z]{2,8}(-[a-z]{2,16}){1,3}-[0-9]{1,2}$`)

// checkServed returns an ErrInvalid that names a setting that is wrong or not
// served. secretsManager is for writes: a Reader serves it by not writing.
func checkServed(p *esv1.AWSProvider) error {
	if p.Service != esv1.AWSServiceSecretsManager {
		return fmt.Errorf("spec.provider.aws.service: %w: %q is not supported; only SecretsManager is", providers.ErrInvalid, p.Service)
	}
	if !regions.MatchString(p.Region) {
		return fmt.Errorf("spec.provider.aws.region: %w: %q is no region, such as eu-central-1", providers.ErrInvalid, p.Region)
	}
	if p.ExternalID != "" && p.Role == "" {
		return fmt.Errorf("spec.provider.aws.externalID: %w: it goes with role, which is empty", providers.ErrInvalid)
	}
	for _, setting := range []struct {
		field string
		set   bool
	}{
		{"sessionTags", len(p.SessionTags) > 0},
		{"transitiveTagKeys", len(p.TransitiveTagKeys) > 0},
		{"sessionTagsPolicy", p.SessionTagsPolicy != "" && p.SessionTagsPolicy != "None"},
		{"customSessionTags", len(p.CustomSessionTags) > 0},
	} {
		if setting.set {
			return fmt.Errorf("spec.provider.aws.%s: %w: it is not supported; remove it", setting.field, providers.ErrInvalid)
		}
	}
	return nil
}

// reader reads the secrets of one store.
type reader struct {
	client         *secretsmanager.Client
	keys           *aws.CredentialsCache
	prefix, region string
	renewing       sync.Mutex
}

// Read implements providers.Reader. The value is the SecretString, or the
// SecretBinary if there is none. It takes one request while the credentials
// are valid.
func (r *reader) Read(ctx context.Context, ref providers.Ref) (providers.Value, error) {
	if ref.Path == "" {
		return providers.Value{}, fmt.Errorf("remoteRef.key: %w: it is empty", providers.ErrInvalid)
	}
	in := &secretsmanager.GetSecretValueInput{SecretId: aws.String(r.prefix + ref.Path)}
	if id, ok := strings.CutPrefix(ref.Version, "uuid/"); ok {
		in.VersionId = &id
	} else if ref.Version != "" {
		in.VersionStage = &ref.Version
	}
	out, err := r.get(ctx, in)
	if err != nil {
		return providers.Value{}, fmt.Errorf("read secret %q: %w", *in.SecretId, r.classify(ctx, err))
	}
	switch {
	case out.SecretString != nil:
		return providers.NewValue([]byte(*out.SecretString)), nil
	case out.SecretBinary != nil:
		return providers.NewValue(out.SecretBinary), nil
	}
	return providers.Value{}, fmt.Errorf("read secret %q: %w: it has no value in AWS Secrets Manager in %s", *in.SecretId, providers.ErrNotFound, r.region)
}

// get sends a request, and sends it again if its credentials are refused and
// there are others by now: a new key in the Secret, or a new session.
func (r *reader) get(ctx context.Context, in *secretsmanager.GetSecretValueInput) (*secretsmanager.GetSecretValueOutput, error) {
	used, err := r.keys.Retrieve(ctx)
	if err != nil {
		return nil, fmt.Errorf("get credentials: %w", err)
	}
	out, refused := r.client.GetSecretValue(ctx, in)
	if refused == nil || !badCredentials[code(refused)] {
		return out, refused //nolint:wrapcheck // Read wraps what classify makes of it
	}
	now, err := r.other(ctx, used)
	if err != nil {
		return nil, fmt.Errorf("get other credentials: %w", err)
	}
	if same(now, used) {
		return nil, refused //nolint:wrapcheck // Read wraps what classify makes of it
	}
	return r.client.GetSecretValue(ctx, in) //nolint:wrapcheck // Read wraps what classify makes of it
}

// other gets credentials anew, unless another goroutine has done so since used
// were given out.
func (r *reader) other(ctx context.Context, used aws.Credentials) (aws.Credentials, error) {
	r.renewing.Lock()
	defer r.renewing.Unlock()
	if now, err := r.keys.Retrieve(ctx); err != nil || !same(now, used) {
		return now, err //nolint:wrapcheck // our own words, found by classify
	}
	r.keys.Invalidate()
	return r.keys.Retrieve(ctx) //nolint:wrapcheck // our own words, found by classify
}

func same(a, b aws.Credentials) bool {
	return a.AccessKeyID == b.AccessKeyID && a.SecretAccessKey == b.SecretAccessKey && a.SessionToken == b.SessionToken
}
