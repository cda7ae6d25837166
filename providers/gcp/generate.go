package gcp

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strconv"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/egress"
)

// registryUser is who logs in to a registry of Google with an access token.
// Source: https://cloud.google.com/artifact-registry/docs/docker/authentication#token
const registryUser = "oauth2accesstoken"

// Generators returns what asks Google for credentials, at e.
func Generators(e Endpoints) providers.Generators {
	return providers.Generators{genv1.GCRAccessTokenKind: func(ctx context.Context, spec any, config providers.Config) (providers.Made, error) {
		s, ok := spec.(*genv1.GCRAccessTokenSpec)
		if !ok {
			return providers.Made{}, fmt.Errorf("%w: no spec of a GCRAccessToken", providers.ErrInvalid)
		}
		return access(ctx, e, s, config)
	}}
}

// access gets an access token.
func access(ctx context.Context, e Endpoints, s *genv1.GCRAccessTokenSpec, config providers.Config) (providers.Made, error) {
	if !projects.MatchString(s.ProjectID) {
		return providers.Made{}, fmt.Errorf("spec.projectID: %w: %q is no project", providers.ErrInvalid, s.ProjectID)
	}
	var roots *x509.CertPool
	if len(e.CA) > 0 {
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(e.CA) {
			return providers.Made{}, errors.New("the certificates for the Google endpoints: no PEM certificate in them")
		}
	}
	if !config.Ambient {
		e.Ambient = nil
	}
	x := exchange{endpoints: e, refs: config.References, http: egress.Client(egress.Options{Roots: roots, LinkLocal: config.LinkLocal, Timeout: requestTimeout})}
	fresh, err := x.method(ctx, &esv1.GCPProvider{Auth: s.Auth, ProjectID: s.ProjectID})
	if err != nil {
		return providers.Made{}, err
	}
	got, err := fresh(ctx)
	if err != nil {
		return providers.Made{}, err
	}
	return providers.Made{Until: got.expires, Values: map[string]providers.Value{
		"username": providers.NewValue([]byte(registryUser)),
		"password": providers.NewValue([]byte(got.value)),
		"expiry":   providers.NewValue([]byte(strconv.FormatInt(got.expires.UTC().Unix(), 10))),
	}}, nil
}
