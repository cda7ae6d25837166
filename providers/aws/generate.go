package aws

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/providers"
)

// Registries are Endpoints, and where the registries of containers are.
type Registries struct {
	Endpoints
	// ECR and ECRPublic are URLs. Empty: AWS's.
	ECR, ECRPublic string
}

// Generators returns what asks AWS for credentials.
func (r Registries) Generators() providers.Generators {
	return providers.Generators{genv1.ECRAuthorizationTokenKind: r.token, genv1.STSSessionTokenKind: r.session}
}

// identity is who asks.
type identity struct {
	*account
	web    aws.HTTPClient
	region string
}

// identify gets the credentials of who asks, as a store does.
func (r Registries) identify(ctx context.Context, region, role string, auth esv1.AWSAuth, config providers.Config) (identity, error) {
	config.Provider = &esv1.SecretStoreProvider{AWS: &esv1.AWSProvider{Service: esv1.AWSServiceSecretsManager, Region: region, Role: role, Auth: auth}}
	opened, err := open(ctx, r.Endpoints, config)
	if err != nil {
		return identity{}, err
	}
	web, err := newHTTPClient(r.CA, config.LinkLocal)
	if err != nil {
		return identity{}, err
	}
	s, ok := opened.(*secrets)
	if !ok {
		return identity{}, fmt.Errorf("%w: no account of AWS", providers.ErrInvalid)
	}
	return identity{account: s.account, web: web, region: region}, nil
}

// token makes what logs in to a registry.
func (r Registries) token(ctx context.Context, spec any, config providers.Config) (providers.Made, error) {
	s, ok := spec.(*genv1.ECRAuthorizationTokenSpec)
	if !ok {
		return providers.Made{}, fmt.Errorf("%w: no spec of an ECRAuthorizationToken", providers.ErrInvalid)
	}
	who, err := r.identify(ctx, s.Region, s.Role, s.Auth, config)
	if err != nil {
		return providers.Made{}, err
	}
	switch s.Scope {
	case "", genv1.ECRPrivate:
		return who.private(ctx, r.ECR)
	case genv1.ECRPublic:
		return who.public(ctx, r.ECRPublic)
	default:
		return providers.Made{}, fmt.Errorf("spec.scope: %w: %q is neither private nor public", providers.ErrInvalid, s.Scope)
	}
}

func (i identity) private(ctx context.Context, url string) (providers.Made, error) {
	const service = "Amazon ECR"
	client := ecr.New(ecr.Options{
		Region: i.region, Credentials: i.keys, HTTPClient: i.web, HTTPSignerV4: signer{}, BaseEndpoint: endpoint(url), Retryer: aws.NopRetryer{},
	})
	out, err := client.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return providers.Made{}, classify(ctx, err, service)
	}
	if len(out.AuthorizationData) != 1 || out.AuthorizationData[0].ProxyEndpoint == nil {
		return providers.Made{}, fmt.Errorf("%w: %s gave no token", providers.ErrUnavailable, service)
	}
	data := out.AuthorizationData[0]
	made, err := logIn(service, data.AuthorizationToken, data.ExpiresAt)
	if err != nil {
		return providers.Made{}, err
	}
	made.Values["proxy_endpoint"] = providers.NewValue([]byte(*data.ProxyEndpoint))
	return made, nil
}

func (i identity) public(ctx context.Context, url string) (providers.Made, error) {
	const service = "Amazon ECR Public"
	client := ecrpublic.New(ecrpublic.Options{
		Region: i.region, Credentials: i.keys, HTTPClient: i.web, HTTPSignerV4: signer{}, BaseEndpoint: endpoint(url), Retryer: aws.NopRetryer{},
	})
	out, err := client.GetAuthorizationToken(ctx, &ecrpublic.GetAuthorizationTokenInput{})
	if err != nil {
		return providers.Made{}, classify(ctx, err, service)
	}
	if out.AuthorizationData == nil {
		return providers.Made{}, fmt.Errorf("%w: %s gave no token", providers.ErrUnavailable, service)
	}
	return logIn(service, out.AuthorizationData.AuthorizationToken, out.AuthorizationData.ExpiresAt)
}

// logIn takes a token apart: it is user:password in base64.
func logIn(service string, token *string, until *time.Time) (providers.Made, error) {
	if token == nil || until == nil {
		return providers.Made{}, fmt.Errorf("%w: %s gave no token", providers.ErrUnavailable, service)
	}
	text, err := base64.StdEncoding.DecodeString(*token)
	user, password, ok := strings.Cut(string(text), ":")
	if err != nil || !ok {
		return providers.Made{}, fmt.Errorf("%w: what %s gave is no token", providers.ErrUnavailable, service)
	}
	return providers.Made{Until: *until, Values: map[string]providers.Value{
		"username":   providers.NewValue([]byte(user)),
		"password":   providers.NewValue([]byte(password)),
		"expires_at": unix(*until),
	}}, nil
}

func unix(t time.Time) providers.Value {
	return providers.NewValue([]byte(strconv.FormatInt(t.UTC().Unix(), 10)))
}

// session makes a session of a user.
func (r Registries) session(ctx context.Context, spec any, config providers.Config) (providers.Made, error) {
	s, ok := spec.(*genv1.STSSessionTokenSpec)
	if !ok {
		return providers.Made{}, fmt.Errorf("%w: no spec of an STSSessionToken", providers.ErrInvalid)
	}
	who, err := r.identify(ctx, s.Region, s.Role, s.Auth, config)
	if err != nil {
		return providers.Made{}, err
	}
	in := &sts.GetSessionTokenInput{}
	if p := s.RequestParameters; p != nil {
		in.DurationSeconds, in.SerialNumber, in.TokenCode = p.SessionDuration, p.SerialNumber, p.TokenCode
	}
	client := sts.New(sts.Options{
		Region: who.region, Credentials: who.keys, HTTPClient: who.web, HTTPSignerV4: signer{}, BaseEndpoint: endpoint(r.STS), Retryer: aws.NopRetryer{},
	})
	out, err := client.GetSessionToken(ctx, in)
	if err != nil {
		return providers.Made{}, classify(ctx, err, "AWS STS")
	}
	got, err := session(out.Credentials)
	if err != nil {
		return providers.Made{}, classify(ctx, err, "AWS STS")
	}
	return providers.Made{Until: got.Expires, Values: map[string]providers.Value{
		"access_key_id":     providers.NewValue([]byte(got.AccessKeyID)),
		"secret_access_key": providers.NewValue([]byte(got.SecretAccessKey)),
		"session_token":     providers.NewValue([]byte(got.SessionToken)),
		"expiration":        unix(got.Expires),
	}}, nil
}
