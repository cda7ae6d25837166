package aws

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/lockstep-dev/lockstep/providers"
)

// globalRegion is where the STS endpoint without a region is.
const globalRegion = "us-east-1"

// Identity returns what proves who the store of config is, to those who want
// proof of it: the login of Vault does. config.Provider.AWS says how to get
// credentials, and errors name its fields. An empty region is the global endpoint
// of STS. Identity sends nothing; what it returns is [caller.request], and safe
// for use by many goroutines.
func (e Endpoints) Identity(config providers.Config) (func(context.Context, http.Header) (*http.Request, string, error), error) {
	web, err := newHTTPClient(e.CA, config.LinkLocal)
	if err != nil {
		return nil, err
	}
	region, url := config.Provider.AWS.Region, "https://sts.amazonaws.com/"
	switch {
	case region == "":
		region = globalRegion
	case !regions.MatchString(region):
		return nil, fmt.Errorf("spec.provider.aws.region: %w: %q is no region, such as eu-central-1", providers.ErrInvalid, region)
	case strings.HasPrefix(region, "cn-"):
		url = "https://sts." + region + ".amazonaws.com.cn/"
	default:
		url = "https://sts." + region + ".amazonaws.com/"
	}
	if e.STS != "" {
		url = strings.TrimSuffix(e.STS, "/") + "/"
	}
	ambient := e.Ambient
	if !config.Ambient {
		ambient = nil
	}
	keys, err := newCredentials(config, stsAt{web: web, region: region, endpoint: e.STS}, ambient)
	if err != nil {
		return nil, err
	}
	return caller{keys: keys, url: url, region: region}.request, nil
}

// caller is who a store is in AWS.
type caller struct {
	keys        *aws.CredentialsCache
	url, region string
}

// request returns a signed request of GetCallerIdentity, and its body, for
// someone else to send. The header becomes a part of what is signed, so that
// nobody else than it names can use the request.
// Source: https://developer.hashicorp.com/vault/docs/auth/aws#iam-auth-method
func (c caller) request(ctx context.Context, header http.Header) (signed *http.Request, body string, err error) {
	const action = "Action=GetCallerIdentity&Version=2011-06-15"
	keys, err := c.keys.Retrieve(ctx)
	if err != nil {
		return nil, "", classify(ctx, err, "AWS STS")
	}
	signed, err = http.NewRequestWithContext(ctx, http.MethodPost, c.url, io.NopCloser(strings.NewReader(action)))
	if err != nil {
		return nil, "", fmt.Errorf("%w: no request can be made for AWS STS", providers.ErrInvalid)
	}
	signed.ContentLength = int64(len(action))
	maps.Copy(signed.Header, header)
	signed.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	sum := sha256.Sum256([]byte(action))
	at := time.Now() //nolint:forbidigo // AWS looks at this clock
	if err := v4.NewSigner().SignHTTP(ctx, keys, signed, hex.EncodeToString(sum[:]), "sts", c.region, at); err != nil {
		return nil, "", fmt.Errorf("%w: the credentials of AWS cannot sign", providers.ErrInvalid)
	}
	return signed, action, nil
}
