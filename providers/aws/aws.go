package aws

import (
	"context"
	"fmt"
	"regexp"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// Endpoints are where the services are, if not where AWS has them: behind a
// VPC endpoint with a name of its own, or in a test. The zero value is AWS.
type Endpoints struct {
	// SecretsManager, ParameterStore and STS are URLs. Empty: AWS's, for the
	// store's region.
	SecretsManager, ParameterStore, STS string
	// CA is PEM certificates that sign for all. Empty: those of the system.
	CA []byte
	// Ambient is the controller's own identity, for stores without auth that
	// may use it. Nil: there is none.
	Ambient aws.CredentialsProvider
}

// New returns the backend that talks to e.
func New(e Endpoints) providers.Open {
	return func(ctx context.Context, config providers.Config) (providers.Reader, error) {
		return open(ctx, e, config)
	}
}

// open checks the settings and gets credentials. It serves the services
// SecretsManager and ParameterStore, with the auth methods secretRef and jwt
// or, where config allows it, the controller's own identity, and roles assumed
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
	web, err := newHTTPClient(e.CA, config.LinkLocal)
	if err != nil {
		return nil, err
	}
	ambient := e.Ambient
	if !config.Ambient {
		ambient = nil
	}
	keys, err := newCredentials(config, stsAt{web: web, region: p.Region, endpoint: e.STS}, ambient)
	if err != nil {
		return nil, err
	}
	a := &account{keys: keys, prefix: p.Prefix, refs: config.References, region: p.Region, web: web}
	// The controllers decide when to try again, for all stores alike.
	var r providers.Reader
	if p.Service == esv1.AWSServiceParameterStore {
		a.service, a.endpoint = "AWS Parameter Store in "+p.Region, endpoint(e.ParameterStore)
		r = &parameters{account: a, client: ssm.New(ssm.Options{
			Region: p.Region, Credentials: keys, HTTPClient: web, HTTPSignerV4: signer{}, BaseEndpoint: a.endpoint, Retryer: aws.NopRetryer{},
		})}
	} else {
		a.service, a.endpoint = "AWS Secrets Manager in "+p.Region, endpoint(e.SecretsManager)
		r = &secrets{account: a, deletion: p.SecretsManager, client: secretsmanager.New(secretsmanager.Options{
			Region: p.Region, Credentials: keys, HTTPClient: web, HTTPSignerV4: signer{}, BaseEndpoint: a.endpoint, Retryer: aws.NopRetryer{},
		})}
	}
	if _, err := keys.Retrieve(ctx); err != nil {
		return nil, a.classify(ctx, err)
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
// served.
func checkServed(p *esv1.AWSProvider) error {
	if p.Service != esv1.AWSServiceSecretsManager && p.Service != esv1.AWSServiceParameterStore {
		return fmt.Errorf("spec.provider.aws.service: %w: %q is not supported; only SecretsManager and ParameterStore are", providers.ErrInvalid, p.Service)
	}
	if !regions.MatchString(p.Region) {
		return fmt.Errorf("spec.provider.aws.region: %w: %q is no region, such as eu-central-1", providers.ErrInvalid, p.Region)
	}
	tags := p.SessionTagsPolicy == esv1.AWSSessionTagsSimple || p.SessionTagsPolicy == esv1.AWSSessionTagsCustom
	for _, setting := range []struct {
		field string
		set   bool
		why   string
	}{
		{"externalID", p.ExternalID != "" && p.Role == "", "it goes with role, which is empty"},
		{"sessionTags", len(p.SessionTags) > 0 && p.Role == "", "they go with role, which is empty"},
		{"transitiveTagKeys", len(p.TransitiveTagKeys) > 0 && p.Role == "", "they go with role, which is empty"},
		{"sessionTagsPolicy", !tags && p.SessionTagsPolicy != "" && p.SessionTagsPolicy != esv1.AWSSessionTagsNone, "use None, Simple or Custom"},
		{"sessionTagsPolicy", tags && p.Role == "", "the tags go with role, which is empty"},
		{"customSessionTags", len(p.CustomSessionTags) > 0 && p.SessionTagsPolicy != esv1.AWSSessionTagsCustom, "they go with sessionTagsPolicy Custom"},
	} {
		if setting.set {
			return fmt.Errorf("spec.provider.aws.%s: %w: %s", setting.field, providers.ErrInvalid, setting.why)
		}
	}
	return nil
}
