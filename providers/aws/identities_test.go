package aws_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/aws"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// TestSessionTagsPolicy wants AWS to be told which store reads, and for which
// namespace, whatever the store says about itself.
func TestSessionTagsPolicy(t *testing.T) {
	a := server.Get(t)
	canary := plant(t, a, "policy-tagged")
	key, err := a.User(t.Context(), "policy-tagger")
	if err != nil {
		t.Fatal(err)
	}
	built := []string{"esoNamespace=team-a", "esoStoreName=store", "esoStoreKind=ClusterSecretStore"}
	cases := map[string]struct {
		reason string
		wants  []string
		policy string
		custom map[string]string
	}{
		"Simple": {"Three tags say who reads.", built, "Simple", nil},
		"Custom": {"Others come with them; an empty one does not.", append([]string{"env=production"}, built...), "Custom", map[string]string{"env": "production", "none": ""}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			role, err := a.Role(t.Context(), testenv.AWSRole{Name: "policy-" + name, Principals: []string{a.UserARN("policy-tagger")}, Tags: tc.wants})
			if err != nil {
				t.Fatal(err)
			}
			settings := byKey()
			settings["role"], settings["sessionTagsPolicy"], settings["customSessionTags"] = role, tc.policy, tc.custom
			config := store(t, settings, keyPair(key.ID, key.Secret))
			backend := aws.New(aws.Endpoints{SecretsManager: a.Address(), STS: a.Address(), CA: a.CA})
			config.Store = providers.Store{Kind: "ClusterSecretStore", Name: "store", Namespace: "team-b"}
			if _, err := backend(t.Context(), config); !errors.Is(err, providers.ErrDenied) {
				t.Errorf("%s\nOpen for another namespace: got %v, want ErrDenied", tc.reason, err)
			}
			config.Store.Namespace = "team-a"
			r, err := backend(t.Context(), config)
			if err != nil {
				t.Fatalf("%s\nOpen: %v", tc.reason, err)
			}
			mustRead(t, r, providers.Ref{Path: "policy-tagged"}, canary)
		})
	}
}

// TestSessionToken reads with a temporary key, which is none without its token.
func TestSessionToken(t *testing.T) {
	a := server.Get(t)
	canary := plant(t, a, "temporary")
	key, err := a.User(t.Context(), "temporary")
	if err != nil {
		t.Fatal(err)
	}
	role, err := a.Role(t.Context(), testenv.AWSRole{Name: "temporary", Principals: []string{a.UserARN("temporary")}})
	if err != nil {
		t.Fatal(err)
	}
	session, err := aws.AssumeForTest(t.Context(), aws.Endpoints{STS: a.Address(), CA: a.CA}, store(t, map[string]any{
		"service": "SecretsManager", "region": region, "role": role, "auth": byKey()["auth"],
	}, keyPair(key.ID, key.Secret)))
	if err != nil {
		t.Fatal(err)
	}
	refs := keyPair(session.AccessKeyID, session.SecretAccessKey)
	settings := byKey()
	r, err := open(t, a, settings, refs)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(t.Context(), providers.Ref{Path: "temporary"}); !errors.Is(err, providers.ErrDenied) {
		t.Errorf("Read without the token: got %v, want ErrDenied", err)
	}
	refs.Set("k", "token", session.SessionToken)
	settings["auth"].(map[string]any)["secretRef"].(map[string]any)["sessionTokenSecretRef"] = map[string]string{"name": "k", "key": "token"}
	if r, err = open(t, a, settings, refs); err != nil {
		t.Fatal(err)
	}
	mustRead(t, r, providers.Ref{Path: "temporary"}, canary)
}

// podIdentity stands for the agent of EKS that gives a Pod credentials for the
// token that Kubernetes puts into a file.
type podIdentity struct {
	key   testenv.AccessKey
	token atomic.Value // string
	asked atomic.Int64
	life  time.Duration
}

func (p *podIdentity) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.asked.Add(1)
	if r.Header.Get("Authorization") != p.token.Load() {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	fmt.Fprintf(w, `{"AccessKeyId":%q,"SecretAccessKey":%q,"AccountId":"123456789012","Expiration":%q}`, p.key.ID, p.key.Secret, time.Now().Add(p.life).UTC().Format(time.RFC3339))
}

// TestPodIdentity reads with the identity that EKS Pod Identity gives to the
// controller: only where that is allowed, and with the newest token.
func TestPodIdentity(t *testing.T) {
	a := server.Get(t)
	canary := plant(t, a, "pod-identity")
	key, err := a.User(t.Context(), "pod-identity", may("pod-identity"))
	if err != nil {
		t.Fatal(err)
	}
	agent := &podIdentity{key: key, life: 30 * time.Second}
	agent.token.Store("first-token-of-the-pod")
	file := filepath.Join(t.TempDir(), "eks-pod-identity-token")
	write := func(token string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first-token-of-the-pod")
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", serve(t, agent.ServeHTTP)+"/v1/credentials")
	t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file)
	backend := aws.New(aws.Endpoints{SecretsManager: a.Address(), STS: a.Address(), CA: a.CA, Ambient: aws.Ambient()})
	config := store(t, with(map[string]any{}), &conformance.References{})
	if _, err := backend(t.Context(), config); !errors.Is(err, providers.ErrInvalid) || agent.asked.Load() != 0 {
		t.Errorf("Open where the controller's identity is not allowed: got %v, and the agent was asked %d times", err, agent.asked.Load())
	}
	config.Ambient = true
	for _, token := range []string{"first-token-of-the-pod", "second-token-of-the-pod"} {
		agent.token.Store(token)
		write(token)
		r, err := backend(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		mustRead(t, r, providers.Ref{Path: "pod-identity"}, canary)
	}
	write("wrong-token-of-the-pod")
	_, err = aws.New(aws.Endpoints{SecretsManager: a.Address(), CA: a.CA, Ambient: aws.Ambient()})(t.Context(), config)
	if !errors.Is(err, providers.ErrDenied) || strings.Contains(err.Error(), "token-of-the-pod") {
		t.Errorf("Open with a token that the agent does not know: got %v, want ErrDenied without the token", err)
	}
}

// TestAmbientServiceAccount reads with the role of the controller's own
// ServiceAccount, as EKS tells the controller by its environment.
func TestAmbientServiceAccount(t *testing.T) {
	a, refs := irsa(t, testenv.AWSRole{Name: "own"})
	canary := plant(t, a, "own-role")
	jwt, err := refs.TokenFn(t.Context(), "app", []string{"sts.amazonaws.com"})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"token": jwt, "ca.crt": string(a.CA)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_PROFILE": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "", "AWS_REGION": region,
		"AWS_ROLE_ARN": refs.Accounts["app"]["eks.amazonaws.com/role-arn"], "AWS_WEB_IDENTITY_TOKEN_FILE": filepath.Join(dir, "token"),
		"AWS_ENDPOINT_URL_STS": a.Address(), "AWS_CA_BUNDLE": filepath.Join(dir, "ca.crt"),
	} {
		t.Setenv(name, value)
	}
	config := store(t, with(map[string]any{}), &conformance.References{})
	config.Ambient = true
	backend := aws.New(aws.Endpoints{SecretsManager: a.Address(), CA: a.CA, Ambient: aws.Ambient()})
	resetCounts(t, a)
	for range 3 { // stores
		r, err := backend(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		mustRead(t, r, providers.Ref{Path: "own-role"}, canary)
	}
	wantCounts(t, a, map[string]int{assumeWith: 1, get: 3})
	t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/nobody")
	_, err = aws.New(aws.Endpoints{SecretsManager: a.Address(), CA: a.CA, Ambient: aws.Ambient()})(t.Context(), config)
	if !errors.Is(err, providers.ErrDenied) || strings.Contains(err.Error(), jwt) {
		t.Errorf("Open with a role that does not trust the controller: got %v, want ErrDenied without the token", err)
	}
}
