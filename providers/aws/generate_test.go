package aws_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/aws"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// generate makes values with the access key in refs.
func generate(t *testing.T, a *testenv.AWS, kind string, spec any, refs *conformance.References) (providers.Made, error) {
	t.Helper()
	r := aws.Registries{Endpoints: aws.Endpoints{SecretsManager: a.Address(), STS: a.Address(), CA: a.CA}, ECR: a.Address(), ECRPublic: a.Address()}
	return r.Generators()[kind](t.Context(), spec, providers.Config{References: refs})
}

// key is an access key of a new user, and how to refer to it.
func key(t *testing.T, a *testenv.AWS, name string, allow ...testenv.AWSStatement) (esv1.AWSAuth, *conformance.References) {
	t.Helper()
	k, err := a.User(t.Context(), name, allow...)
	if err != nil {
		t.Fatal(err)
	}
	refs := &conformance.References{}
	refs.Set("keys", "id", k.ID)
	refs.Set("keys", "secret", k.Secret)
	return esv1.AWSAuth{SecretRef: &esv1.AWSAuthSecretRef{
		AccessKeyID: esv1.SecretKeySelector{Name: "keys", Key: "id"}, SecretAccessKey: esv1.SecretKeySelector{Name: "keys", Key: "secret"},
	}}, refs
}

// wantKeys fails t unless made has exactly these keys, each with a value, and
// ends after about so long.
func wantKeys(t *testing.T, made providers.Made, after time.Duration, keys ...string) {
	t.Helper()
	if diff := cmp.Diff(keys, slices.Sorted(maps.Keys(made.Values))); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	for name, v := range made.Values {
		if len(v.Bytes()) == 0 {
			t.Errorf("%s is empty", name)
		}
	}
	if left := time.Until(made.Until); left > after || left < after-10*time.Minute {
		t.Errorf("it ends in %s, want about %s", left, after)
	}
}

func TestRegistryTokens(t *testing.T) {
	a := server.Get(t)
	auth, refs := key(t, a, "ecr", testenv.AWSStatement{Actions: []string{"ecr:GetAuthorizationToken", "ecr-public:GetAuthorizationToken"}})
	made, err := generate(t, a, genv1.ECRAuthorizationTokenKind, &genv1.ECRAuthorizationTokenSpec{Region: region, Auth: auth}, refs)
	if err != nil {
		t.Fatal(err)
	}
	wantKeys(t, made, 12*time.Hour, "expires_at", "password", "proxy_endpoint", "username")
	if user, at := string(made.Values["username"].Bytes()), string(made.Values["proxy_endpoint"].Bytes()); user != "AWS" || !strings.HasSuffix(at, ".dkr.ecr."+region+".amazonaws.com") {
		t.Errorf("got user %q at %q", user, at)
	}
	made, err = generate(t, a, genv1.ECRAuthorizationTokenKind, &genv1.ECRAuthorizationTokenSpec{Region: "us-east-1", Scope: genv1.ECRPublic, Auth: auth}, refs)
	if err != nil {
		t.Fatal(err)
	}
	wantKeys(t, made, 12*time.Hour, "expires_at", "password", "username")
}

func TestRegistryTokenOfARole(t *testing.T) {
	a := server.Get(t)
	auth, refs := key(t, a, "ecr-role", testenv.AWSStatement{Actions: []string{"sts:*"}})
	role, err := a.Role(t.Context(), testenv.AWSRole{Name: "puller", Principals: []string{a.UserARN("ecr-role")}})
	if err != nil {
		t.Fatal(err)
	}
	made, err := generate(t, a, genv1.ECRAuthorizationTokenKind, &genv1.ECRAuthorizationTokenSpec{Region: region, Role: role, Auth: auth}, refs)
	if err != nil {
		t.Fatal(err)
	}
	wantKeys(t, made, 12*time.Hour, "expires_at", "password", "proxy_endpoint", "username")
}

func TestGenerateSessionToken(t *testing.T) {
	a := server.Get(t)
	auth, refs := key(t, a, "sts")
	canary := plant(t, a, "of-the-session")
	made, err := generate(t, a, genv1.STSSessionTokenKind, &genv1.STSSessionTokenSpec{
		Region: region, Auth: auth, RequestParameters: &genv1.STSRequestParameters{SessionDuration: new(int32(1800))}}, refs)
	if err != nil {
		t.Fatal(err)
	}
	wantKeys(t, made, 30*time.Minute, "access_key_id", "expiration", "secret_access_key", "session_token")

	with := &conformance.References{}
	for name, v := range made.Values {
		with.Set("session", name, string(v.Bytes()))
	}
	settings := byKey()
	settings["auth"] = map[string]any{"secretRef": map[string]any{
		"accessKeyIDSecretRef":     map[string]string{"name": "session", "key": "access_key_id"},
		"secretAccessKeySecretRef": map[string]string{"name": "session", "key": "secret_access_key"},
		"sessionTokenSecretRef":    map[string]string{"name": "session", "key": "session_token"},
	}}
	r, err := open(t, a, settings, with)
	if err != nil {
		t.Fatal(err)
	}
	mustRead(t, r, providers.Ref{Path: "of-the-session"}, canary)
}

func TestGenerateRefuses(t *testing.T) {
	a := server.Get(t)
	auth, refs := key(t, a, "nothing", testenv.AWSStatement{Actions: []string{"sts:*"}})
	for name, tc := range map[string]struct {
		kind string
		spec any
		want error
		text string
	}{
		"NoRight":  {genv1.ECRAuthorizationTokenKind, &genv1.ECRAuthorizationTokenSpec{Region: region, Auth: auth}, providers.ErrDenied, "Amazon ECR"},
		"Scope":    {genv1.ECRAuthorizationTokenKind, &genv1.ECRAuthorizationTokenSpec{Region: region, Auth: auth, Scope: "any"}, providers.ErrInvalid, "spec.scope"},
		"Region":   {genv1.ECRAuthorizationTokenKind, &genv1.ECRAuthorizationTokenSpec{Auth: auth}, providers.ErrInvalid, "region"},
		"Identity": {genv1.STSSessionTokenKind, &genv1.STSSessionTokenSpec{Region: region}, providers.ErrInvalid, "the controller's own identity is not for this store"},
		"Length":   {genv1.STSSessionTokenKind, &genv1.STSSessionTokenSpec{Region: region, Auth: auth, RequestParameters: &genv1.STSRequestParameters{SessionDuration: new(int32(1))}}, providers.ErrInvalid, "AWS STS"},
		"Spec":     {genv1.STSSessionTokenKind, &genv1.ECRAuthorizationTokenSpec{}, providers.ErrInvalid, "no spec"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := generate(t, a, tc.kind, tc.spec, refs); !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %v, want %v with %q", err, tc.want, tc.text)
			}
		})
	}
}
