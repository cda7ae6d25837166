package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/externalsecrets/stores"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/reconciler/source"
	"github.com/lockstep-dev/lockstep/reconciler/source/azure"
)

// logins get sources in at the services of clouds: by a ServiceAccount of
// their namespace, or by the controller's own identity where the platform's
// owner allows that.
type logins struct {
	makers     providers.Generators
	references func(namespace string) providers.References
	identity   stores.Identity
	azure      azure.Clouds
}

// Registries of the clouds. A token goes to no other host.
// Source: https://docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html
// and https://cloud.google.com/artifact-registry/docs/transition/setup-gcr-repo
var (
	amazonRegistry = regexp.MustCompile(`^[0-9]{12}\.dkr[.-]ecr(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|on\.aws|on\.amazonwebservices\.com\.cn)$`)
	googleRegistry = regexp.MustCompile(`^(?:[a-z0-9-]+-docker\.pkg\.dev|(?:[a-z]+\.)?gcr\.io)$`)
)

// amazonPublic is a registry of AWS that belongs to no account, and where its
// tokens are made.
const (
	amazonPublic       = "public.ecr.aws"
	amazonPublicRegion = "us-east-1"
)

// googleProvider is the annotation that says which workload identity provider
// trusts a ServiceAccount; it is Flux's.
const googleProvider = "gcp.auth.fluxcd.io/workload-identity-provider"

// oci is a source.Login for registries.
func (l *logins) oci(ctx context.Context, who source.Who) (source.Pass, error) {
	if err := l.allowed(who); err != nil {
		return source.Pass{}, err
	}
	switch who.Provider {
	case sourcev1.AmazonOCIProvider:
		return l.amazon(ctx, who)
	case sourcev1.GoogleOCIProvider:
		return l.google(ctx, who)
	case sourcev1.AzureOCIProvider:
		account, err := l.account(ctx, who)
		if err != nil {
			return source.Pass{}, err
		}
		return l.azure.OCI(ctx, who, account)
	default:
		return source.Pass{}, fmt.Errorf("%q is no cloud with registries", who.Provider)
	}
}

// git is a source.Login for repositories.
func (l *logins) git(ctx context.Context, who source.Who) (source.Pass, error) {
	if err := l.allowed(who); err != nil {
		return source.Pass{}, err
	}
	account, err := l.account(ctx, who)
	if err != nil {
		return source.Pass{}, err
	}
	return l.azure.Git(ctx, who, account)
}

// allowed refuses the controller's own identity to those who may not have it.
func (l *logins) allowed(who source.Who) error {
	if who.Account == "" && !l.identity.Ambient(who.Namespace) {
		return errors.New("spec.serviceAccountName: name a ServiceAccount that the cloud knows: the controller's own identity is for the namespaces in --ambient-credentials-namespaces")
	}
	return nil
}

func (l *logins) amazon(ctx context.Context, who source.Who) (source.Pass, error) {
	spec := &genv1.ECRAuthorizationTokenSpec{Region: amazonPublicRegion, Scope: genv1.ECRPublic}
	if who.Host != amazonPublic {
		found := amazonRegistry.FindStringSubmatch(who.Host)
		if found == nil {
			return source.Pass{}, fmt.Errorf("spec.url: %s is no registry of AWS: nothing is sent to it", who.Host)
		}
		spec.Region, spec.Scope = found[1], genv1.ECRPrivate
	}
	if who.Account != "" {
		spec.Auth.JWT = &esv1.AWSAuthJWT{ServiceAccountRef: &esv1.ServiceAccountSelector{Name: who.Account}}
	}
	return l.make(ctx, who, genv1.ECRAuthorizationTokenKind, spec)
}

func (l *logins) google(ctx context.Context, who source.Who) (source.Pass, error) {
	if !googleRegistry.MatchString(who.Host) {
		return source.Pass{}, fmt.Errorf("spec.url: %s is no registry of Google: nothing is sent to it", who.Host)
	}
	project, _, _ := strings.Cut(who.Path, "/")
	spec := &genv1.GCRAccessTokenSpec{ProjectID: project}
	if who.Account != "" {
		ref := esv1.ServiceAccountSelector{Name: who.Account}
		annotations, err := l.references(who.Namespace).Annotations(ctx, ref)
		if err != nil {
			return source.Pass{}, fmt.Errorf("spec.serviceAccountName: %w", err)
		}
		provider := strings.TrimPrefix(annotations[googleProvider], "//iam.googleapis.com/")
		if provider == "" {
			return source.Pass{}, fmt.Errorf("spec.serviceAccountName: ServiceAccount %s/%s has no annotation %s", who.Namespace, who.Account, googleProvider)
		}
		spec.Auth.WorkloadIdentityFederation = &esv1.GCPWorkloadIdentityFederation{ServiceAccountRef: &ref, Audience: "//iam.googleapis.com/" + provider}
	}
	return l.make(ctx, who, genv1.GCRAccessTokenKind, spec)
}

// fields are what backends call what a source has in another place.
var fields = strings.NewReplacer(
	"spec.provider.aws.auth.jwt.serviceAccountRef", "spec.serviceAccountName",
	"spec.provider.gcpsm.auth.workloadIdentityFederation.serviceAccountRef", "spec.serviceAccountName",
	"spec.provider.gcpsm.auth.workloadIdentityFederation.audience", "annotation "+googleProvider,
	"spec.projectID", "spec.url",
)

func (l *logins) make(ctx context.Context, who source.Who, kind string, spec any) (source.Pass, error) {
	made, err := l.makers[kind](ctx, spec, providers.Config{
		References: l.references(who.Namespace), Ambient: who.Account == "", LinkLocal: l.identity.LinkLocal,
	})
	if err != nil {
		return source.Pass{}, errors.New(fields.Replace(err.Error()))
	}
	return source.Pass{
		Username: string(made.Values["username"].Bytes()), Password: string(made.Values["password"].Bytes()), Until: made.Until,
	}, nil
}

// account is the ServiceAccount that asks; nil for the controller itself.
func (l *logins) account(ctx context.Context, who source.Who) (*azure.Account, error) {
	if who.Account == "" {
		return nil, nil //nolint:nilnil // the controller itself
	}
	refs, ref := l.references(who.Namespace), esv1.ServiceAccountSelector{Name: who.Account}
	annotations, err := refs.Annotations(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("spec.serviceAccountName: %w", err)
	}
	return &azure.Account{
		Name: who.Namespace + "/" + who.Account, Annotations: annotations,
		Token: func(ctx context.Context, audience string) (string, error) {
			token, _, err := refs.Token(ctx, ref, []string{audience}, 0)
			if err != nil {
				return "", fmt.Errorf("spec.serviceAccountName: %w", err)
			}
			return string(token.Bytes()), nil
		},
	}, nil
}
