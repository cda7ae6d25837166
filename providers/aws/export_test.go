package aws

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/lockstep-dev/lockstep/providers"
)

// AssumeForTest returns the credentials that a store reads with.
func AssumeForTest(ctx context.Context, e Endpoints, config providers.Config) (aws.Credentials, error) {
	web, err := newHTTPClient(e.CA, false)
	if err != nil {
		return aws.Credentials{}, err
	}
	keys, err := newCredentials(config, stsAt{web: web, region: config.Provider.AWS.Region, endpoint: e.STS}, nil)
	if err != nil {
		return aws.Credentials{}, err
	}
	return keys.Retrieve(ctx)
}

// ParametersForTest returns the client of the SDK that a store reads with.
func ParametersForTest(r providers.Reader) *ssm.Client { return r.(*parameters).client }

// SecretSettings and ParameterSettings are what the metadata of a PushSecret is
// decoded into.
type (
	SecretSettings    = secretSettings
	ParameterSettings = parameterSettings
)
