package gcp

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"time"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

const (
	// scope is what tokens are for: IAM decides about the rest.
	scope = "https://www.googleapis.com/auth/cloud-platform"

	// accountAnnotation of a ServiceAccount is the email of the service account
	// that it acts as.
	// Source: https://cloud.google.com/kubernetes-engine/docs/how-to/workload-identity
	accountAnnotation = "iam.gke.io/gcp-service-account"
)

// exchange trades what a store refers to for tokens of Google.
type exchange struct {
	endpoints Endpoints
	refs      providers.References
	http      *http.Client
}

// warnIdle tells of ways in that another one comes before. External Secrets
// passes over them in silence.
func warnIdle(ctx context.Context, a esv1.GCPAuth) {
	first := ""
	for _, way := range []struct {
		field string
		set   bool
	}{{"secretRef", a.SecretRef != nil}, {"workloadIdentity", a.WorkloadIdentity != nil}, {"workloadIdentityFederation", a.WorkloadIdentityFederation != nil}} {
		switch {
		case way.set && first == "":
			first = way.field
		case way.set:
			providers.Warn(ctx, "spec.provider.gcpsm.auth."+way.field+": it makes no difference: auth."+first+" counts; remove one of them")
		}
	}
}

// method returns how to get a token: by the first that auth sets.
func (x exchange) method(ctx context.Context, p *esv1.GCPProvider) (func(context.Context) (token, error), error) {
	warnIdle(ctx, p.Auth)
	switch {
	case p.Auth.SecretRef != nil:
		return x.key(p.Auth.SecretRef.SecretAccessKey), nil
	case p.Auth.WorkloadIdentity != nil:
		return x.gke(p.Auth.WorkloadIdentity, p.ProjectID)
	case p.Auth.WorkloadIdentityFederation != nil:
		return x.federation(p.Auth.WorkloadIdentityFederation)
	case x.endpoints.Ambient != nil:
		return func(ctx context.Context) (token, error) {
			value, expires, err := x.endpoints.Ambient(ctx)
			if err != nil {
				return token{}, fmt.Errorf("%w: Google gives the controller no identity of its own: set auth, or give it one", providers.ErrDenied)
			}
			return token{value: value, expires: expires}, nil
		}, nil
	}
	return nil, fmt.Errorf("spec.provider.gcpsm.auth: %w: set secretRef, workloadIdentity or workloadIdentityFederation; the controller's own identity is not for this store: it is for ClusterSecretStores, and for namespaces in --ambient-credentials-namespaces", providers.ErrInvalid)
}

// names are what clusters and projects are called; they become part of a URL.
var names = regexp.MustCompile(`^[a-z0-9][-a-z0-9.:]{0,62}$`)

// gke trades a token of a ServiceAccount of a GKE cluster.
func (x exchange) gke(w *esv1.GCPWorkloadIdentity, project string) (func(context.Context) (token, error), error) {
	const field = "spec.provider.gcpsm.auth.workloadIdentity"
	if w.ClusterProjectID != "" {
		project = w.ClusterProjectID
	}
	for name, value := range map[string]string{"clusterLocation": w.ClusterLocation, "clusterName": w.ClusterName, "clusterProjectID": project} {
		if !names.MatchString(value) {
			// External Secrets would ask the metadata service of the machine.
			return nil, fmt.Errorf("%s.%s: %w: %q: set it to that of the cluster", field, name, providers.ErrInvalid, value)
		}
	}
	pool := project + ".svc.id.goog"
	identity := fmt.Sprintf("identitynamespace:%s:https://container.googleapis.com/v1/projects/%s/locations/%s/clusters/%s", pool, project, w.ClusterLocation, w.ClusterName)
	return func(ctx context.Context) (token, error) {
		jwt, annotations, err := x.account(ctx, field+".serviceAccountRef", w.ServiceAccountRef, pool)
		if err != nil {
			return token{}, err
		}
		got, err := x.post(ctx, question{url: x.at(x.endpoints.IdentityBinding, "https://securetoken.googleapis.com") + "/v1/identitybindingtoken", json: map[string]any{
			"grant_type": grantExchange, "requested_token_type": typeAccess, "subject_token_type": typeJWT,
			"subject_token": jwt, "audience": identity, "scope": scope,
		}, who: fmt.Sprintf("ServiceAccount %q of cluster %s", w.ServiceAccountRef.Name, w.ClusterName)})
		if err != nil {
			return token{}, err
		}
		return x.actAs(ctx, got, annotations[accountAnnotation])
	}, nil
}

// account returns a token of a ServiceAccount and its annotations.
func (x exchange) account(ctx context.Context, field string, ref esv1.ServiceAccountSelector, audience string) (string, map[string]string, error) {
	annotations, err := x.refs.Annotations(ctx, ref)
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", field, err)
	}
	others := slices.DeleteFunc(slices.Clone(ref.Audiences), func(a string) bool { return a == audience })
	jwt, _, err := x.refs.Token(ctx, ref, append([]string{audience}, others...), 0)
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", field, err)
	}
	return string(jwt.Bytes()), annotations, nil
}

// emails are what service accounts are called; they become part of a URL.
var emails = regexp.MustCompile(`^[-a-z0-9._]{1,100}@[-a-z0-9._]{1,150}$`)

// actAs trades a token for one of a service account; of none, it is t itself.
func (x exchange) actAs(ctx context.Context, t token, email string) (token, error) {
	if email == "" {
		return t, nil
	}
	if !emails.MatchString(email) {
		return token{}, fmt.Errorf("spec.provider.gcpsm.auth: %w: %q is no email of a service account", providers.ErrInvalid, email)
	}
	return x.post(ctx, question{url: x.at(x.endpoints.IAM, "https://iamcredentials.googleapis.com") + "/v1/projects/-/serviceAccounts/" + email + ":generateAccessToken",
		json: map[string]any{"scope": []string{scope}}, bearer: t.value, who: "that identity as " + email})
}

func (x exchange) at(endpoint, otherwise string) string {
	if endpoint != "" {
		return endpoint
	}
	return otherwise
}

// lifetime of a token of whose end nothing is said.
const lifetime = 5 * time.Minute
