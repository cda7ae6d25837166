package gcp

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

const federationField = "spec.provider.gcpsm.auth.workloadIdentityFederation"

// audiences are providers of workload identity pools.
var audiences = regexp.MustCompile(`^(https:)?//iam\.googleapis\.com/(projects/[0-9]+/)?locations/global/workloadIdentityPools/[-a-z0-9.]+(/providers/[-a-z0-9]+)?$`)

// federation trades an identity that a workload identity pool trusts.
func (x exchange) federation(f *esv1.GCPWorkloadIdentityFederation) (func(context.Context) (token, error), error) {
	switch {
	case f.ServiceAccountRef != nil && f.AWSSecurityCredentials != nil:
		return nil, fmt.Errorf("%s: %w: set one of serviceAccountRef and awsSecurityCredentials", federationField, providers.ErrInvalid)
	case f.CredConfig == nil && f.ExternalTokenEndpoint != "":
		return nil, fmt.Errorf("%s.externalTokenEndpoint: %w: it goes with credConfig, which is not set", federationField, providers.ErrInvalid)
	case f.CredConfig == nil && f.ServiceAccountRef == nil && f.AWSSecurityCredentials == nil:
		return nil, fmt.Errorf("%s: %w: set serviceAccountRef, awsSecurityCredentials or credConfig", federationField, providers.ErrInvalid)
	case f.CredConfig == nil || f.Audience != "":
		if err := checkAudience(federationField+".audience", f.Audience); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context) (token, error) {
		c, err := x.credConfig(ctx, f)
		if err != nil {
			return token{}, err
		}
		s, err := x.subject(ctx, f, c)
		if err != nil {
			return token{}, err
		}
		got, err := x.post(ctx, question{url: x.at(x.endpoints.STS, "https://sts.googleapis.com") + "/v1/token", form: map[string]string{
			"grant_type": grantExchange, "requested_token_type": typeAccess, "subject_token_type": s.kind,
			"subject_token": s.token, "audience": c.Audience, "scope": scope,
		}, who: s.who})
		if err != nil {
			return token{}, err
		}
		return x.actAs(ctx, got, s.email)
	}, nil
}

func checkAudience(field, audience string) error {
	if !audiences.MatchString(audience) {
		return fmt.Errorf("%s: %w: %q is no provider of a workload identity pool, such as //iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k", field, providers.ErrInvalid, audience)
	}
	return nil
}

// subject is an identity to be traded. email is the service account that it
// acts as; empty: none.
type subject struct{ token, kind, email, who string }

// subject returns who asks: a ServiceAccount, an access key of AWS, or who the
// URL of the credential configuration says.
func (x exchange) subject(ctx context.Context, f *esv1.GCPWorkloadIdentityFederation, c *credConfig) (subject, error) {
	var s subject
	var err error
	switch {
	case f.ServiceAccountRef != nil:
		var annotations map[string]string
		s = subject{kind: typeJWT, who: fmt.Sprintf("ServiceAccount %q", f.ServiceAccountRef.Name)}
		s.token, annotations, err = x.account(ctx, federationField+".serviceAccountRef", *f.ServiceAccountRef, c.Audience)
		s.email = annotations[accountAnnotation]
	case f.AWSSecurityCredentials != nil:
		s, err = x.aws(ctx, federationField, c.Audience, f.AWSSecurityCredentials)
		s.email = c.email
	default:
		s, err = x.fromURL(ctx, c)
		s.email = c.email
	}
	if f.GCPServiceAccountEmail != "" {
		s.email = f.GCPServiceAccountEmail
	}
	return s, err
}

// credConfig is the part of a credential configuration that is served.
// Source: https://google.aip.dev/auth/4117
type credConfig struct {
	Type          string `json:"type"`
	Audience      string `json:"audience"`
	SubjectType   string `json:"subject_token_type"`
	TokenURL      string `json:"token_url"`
	Impersonation string `json:"service_account_impersonation_url"`
	Source        struct {
		File        string            `json:"file"`
		URL         string            `json:"url"`
		Headers     map[string]string `json:"headers"`
		Environment string            `json:"environment_id"`
		Executable  json.RawMessage   `json:"executable"`
		Certificate json.RawMessage   `json:"certificate"`
		Format      struct {
			Type  string `json:"type"`
			Field string `json:"subject_token_field_name"`
		} `json:"format"`
	} `json:"credential_source"`

	email string // of Impersonation
}

// impersonations are the URLs that make a token of a service account.
var impersonations = regexp.MustCompile(`^https://iamcredentials\.googleapis\.com/v1/projects/-/serviceAccounts/([^/:]+):generateAccessToken$`)

// credConfig reads the credential configuration. Without one, it has the
// audience only. It is read anew each time: there may be another.
func (x exchange) credConfig(ctx context.Context, f *esv1.GCPWorkloadIdentityFederation) (*credConfig, error) {
	if f.CredConfig == nil {
		return &credConfig{Audience: f.Audience}, nil
	}
	const field = federationField + ".credConfig"
	ref := esv1.CAProvider{Type: esv1.CAConfigMap, Name: f.CredConfig.Name, Key: f.CredConfig.Key}
	if f.CredConfig.Namespace != "" {
		ref.Namespace = &f.CredConfig.Namespace
	}
	text, err := x.refs.CA(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	c := &credConfig{}
	if err := json.Unmarshal(text, c); err != nil || c.Type != "external_account" {
		return nil, fmt.Errorf("%s: %w: what it refers to is no credential configuration of type external_account, as JSON", field, providers.ErrInvalid)
	}
	if f.Audience != "" {
		c.Audience = f.Audience
	}
	return c, c.check(field, f)
}

// check refuses what would take an identity from where the store does not say,
// or take one elsewhere than to Google: whoever may write a ConfigMap chooses
// neither.
func (c *credConfig) check(field string, f *esv1.GCPWorkloadIdentityFederation) error {
	wrong := func(what, why string) error {
		return fmt.Errorf("%s: %w: %s: %s", field, providers.ErrInvalid, what, why)
	}
	own := f.ServiceAccountRef != nil || f.AWSSecurityCredentials != nil
	switch s := c.Source; {
	case c.TokenURL != "" && c.TokenURL != "https://sts.googleapis.com/v1/token":
		return wrong("token_url", "tokens are traded at https://sts.googleapis.com/v1/token only")
	case len(s.Executable) > 0:
		return wrong("credential_source.executable", "no program is run; use serviceAccountRef, awsSecurityCredentials or credential_source.url")
	case f.ExternalTokenEndpoint != s.URL && (f.ExternalTokenEndpoint != "" || !own && s.URL != "" && s.Environment == ""):
		return wrong("credential_source.url", fmt.Sprintf("it is not what externalTokenEndpoint says, %q: set them to the same", f.ExternalTokenEndpoint))
	case !own && s.Environment != "":
		return wrong("credential_source.environment_id", "the metadata service of the machine is not asked: set awsSecurityCredentials or serviceAccountRef")
	case !own && s.URL == "":
		return wrong("credential_source", "files of the controller are not read: set serviceAccountRef, awsSecurityCredentials, or credential_source.url and externalTokenEndpoint")
	}
	if c.Impersonation != "" {
		m := impersonations.FindStringSubmatch(c.Impersonation)
		if m == nil {
			return wrong("service_account_impersonation_url", "it must be https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/EMAIL:generateAccessToken")
		}
		c.email = m[1]
	}
	return checkAudience(field+": audience", c.Audience)
}
