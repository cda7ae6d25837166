package gcp_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/gcp"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// TestAccessToken gets a token for a registry, and shows that Google takes it.
func TestAccessToken(t *testing.T) {
	g := server.Get(t)
	refs, _ := keyOf(t, g, testenv.GCPPrincipal{Name: "puller@team.iam.gserviceaccount.com", Allow: []string{"pull-*"}})
	auth := esv1.GCPAuth{SecretRef: &esv1.GCPAuthSecretRef{SecretAccessKey: esv1.SecretKeySelector{Name: "k", Key: "key.json"}}}
	generate := gcp.Generators(endpoints(g))[genv1.GCRAccessTokenKind]
	made, err := generate(t.Context(), &genv1.GCRAccessTokenSpec{ProjectID: "team", Auth: auth}, providers.Config{References: refs})
	must(t, err)
	if user := string(made.Values["username"].Bytes()); user != "oauth2accesstoken" || len(made.Values) != 3 || len(made.Values["expiry"].Bytes()) == 0 {
		t.Errorf("got user %q and %d values, want oauth2accesstoken, a password and its expiry", user, len(made.Values))
	}
	if left := time.Until(made.Until); left <= 0 || left > time.Hour {
		t.Errorf("it ends in %s, want within the hour", left)
	}

	canary := testenv.NewCanary(t)
	value := canary.Value()
	_, err = g.PutSecret(t.Context(), testenv.GCPSecret{Parent: project, ID: "pull-secret", Value: &value})
	must(t, err)
	e := endpoints(g)
	e.Ambient = func(context.Context) (string, time.Time, error) {
		return string(made.Values["password"].Bytes()), made.Until, nil
	}
	config := store(t, map[string]any{"projectID": "team"}, refs)
	config.Ambient = true
	r, err := gcp.New(e)(t.Context(), config)
	must(t, err)
	if v, err := r.Read(t.Context(), providers.Ref{Path: "pull-secret"}); err != nil || string(v.Bytes()) != value {
		t.Errorf("a read with the token: %v, want the secret", err)
	}
}

func TestAccessTokenRefuses(t *testing.T) {
	generate := gcp.Generators(gcp.Endpoints{})[genv1.GCRAccessTokenKind]
	for name, tc := range map[string]struct {
		spec any
		text string
	}{
		"Project":  {&genv1.GCRAccessTokenSpec{ProjectID: "No Project"}, "spec.projectID"},
		"Identity": {&genv1.GCRAccessTokenSpec{ProjectID: "team"}, "the controller's own identity is not for this store"},
		"Spec":     {&genv1.FakeSpec{}, "no spec"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := generate(t.Context(), tc.spec, providers.Config{}); !errors.Is(err, providers.ErrInvalid) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %v, want ErrInvalid with %q", err, tc.text)
			}
		})
	}
}
