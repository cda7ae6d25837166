package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/externalsecrets/stores"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/reconciler/source"
)

// accounts are the ServiceAccounts of one namespace.
type accounts struct {
	providers.References
	annotations map[string]string
}

func (a accounts) Annotations(context.Context, esv1.ServiceAccountSelector) (map[string]string, error) {
	return a.annotations, nil
}

// TestLogins says who asks which cloud for what, and that nothing is asked for
// a host that is not the cloud's, nor as the controller without leave.
func TestLogins(t *testing.T) {
	var spec any
	var ambient bool
	maker := func(_ context.Context, s any, c providers.Config) (providers.Made, error) {
		spec, ambient = s, c.Ambient
		return providers.Made{Until: time.Unix(9, 0), Values: map[string]providers.Value{"username": providers.NewValue([]byte("u")), "password": providers.NewValue([]byte("p"))}}, nil
	}
	pool := "projects/1/locations/global/workloadIdentityPools/p/providers/k"
	l := &logins{
		makers: providers.Generators{genv1.ECRAuthorizationTokenKind: maker, genv1.GCRAccessTokenKind: maker},
		references: func(string) providers.References {
			return accounts{annotations: map[string]string{googleProvider: pool}}
		},
		identity: stores.Identity{AmbientNamespaces: []string{"system"}},
	}
	puller := &esv1.ServiceAccountSelector{Name: "puller"}
	byRole := esv1.AWSAuth{JWT: &esv1.AWSAuthJWT{ServiceAccountRef: puller}}
	byPool := esv1.GCPAuth{WorkloadIdentityFederation: &esv1.GCPWorkloadIdentityFederation{ServiceAccountRef: puller, Audience: "//iam.googleapis.com/" + pool}}
	const ecr = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
	for name, c := range map[string]struct {
		who  source.Who
		want any
		err  string
	}{
		"ECR":                   {source.Who{Provider: "aws", Host: ecr, Namespace: "team", Account: "puller"}, &genv1.ECRAuthorizationTokenSpec{Region: "eu-central-1", Scope: genv1.ECRPrivate, Auth: byRole}, ""},
		"ECR in China":          {source.Who{Provider: "aws", Host: "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", Account: "puller"}, &genv1.ECRAuthorizationTokenSpec{Region: "cn-north-1", Scope: genv1.ECRPrivate, Auth: byRole}, ""},
		"ECR Public":            {source.Who{Provider: "aws", Host: "public.ecr.aws", Account: "puller"}, &genv1.ECRAuthorizationTokenSpec{Region: "us-east-1", Scope: genv1.ECRPublic, Auth: byRole}, ""},
		"as the controller":     {source.Who{Provider: "aws", Host: ecr, Namespace: "system"}, &genv1.ECRAuthorizationTokenSpec{Region: "eu-central-1", Scope: genv1.ECRPrivate}, ""},
		"Artifact Registry":     {source.Who{Provider: "gcp", Host: "europe-west3-docker.pkg.dev", Path: "project/repo/app", Namespace: "team", Account: "puller"}, &genv1.GCRAccessTokenSpec{ProjectID: "project", Auth: byPool}, ""},
		"without leave":         {source.Who{Provider: "aws", Host: ecr, Namespace: "team"}, nil, "--ambient-credentials-namespaces"},
		"without leave, Google": {source.Who{Provider: "gcp", Host: "gcr.io", Namespace: "team"}, nil, "--ambient-credentials-namespaces"},
		"without leave, Azure":  {source.Who{Provider: "azure", Host: "team.azurecr.io", Namespace: "team"}, nil, "--ambient-credentials-namespaces"},
		"not of AWS":            {source.Who{Provider: "aws", Host: ecr + ".example.com", Account: "puller"}, nil, "nothing is sent"},
		"before that of AWS":    {source.Who{Provider: "aws", Host: "evil." + ecr, Account: "puller"}, nil, "nothing is sent"},
		"not of Google":         {source.Who{Provider: "gcp", Host: "gcr.io.example.com", Account: "puller"}, nil, "nothing is sent"},
		"not of Azure":          {source.Who{Provider: "azure", Host: "example.com", Account: "puller"}, nil, "nothing is sent"},
	} {
		t.Run(name, func(t *testing.T) {
			spec = nil
			got, err := l.oci(t.Context(), c.who)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || spec != nil {
					t.Fatalf("got %v, want an error with %q, and nothing asked", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, spec); d != "" {
				t.Error(d)
			}
			if want := (source.Pass{Username: "u", Password: "p", Until: time.Unix(9, 0)}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if ambient != (c.who.Account == "") {
				t.Errorf("as the controller: %v", ambient)
			}
		})
	}
	if _, err := l.git(t.Context(), source.Who{Provider: "azure", Host: "dev.azure.com", Namespace: "team"}); err == nil || !strings.Contains(err.Error(), "--ambient-credentials-namespaces") {
		t.Errorf("a repository without leave: %v", err)
	}
}
