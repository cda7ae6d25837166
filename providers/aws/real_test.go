package aws_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/aws"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

var (
	cluster = testenv.Share(func(t testing.TB) (*testenv.ControlPlane, error) {
		return testenv.StartControlPlane(t.Context(), testenv.Options{})
	})
	// server trusts the ServiceAccounts of cluster.
	server = testenv.Share(func(t testing.TB) (*testenv.AWS, error) {
		cp := cluster.Get(t)
		return testenv.StartAWS(t.Context(), testenv.AWSOptions{Issuer: cp.Issuer(), IssuerCA: cp.CA()})
	})
)

func TestMain(m *testing.M) { testenv.Main(m) }

const (
	get        = "secretsmanager:GetSecretValue"
	assume     = "sts:AssumeRole"
	assumeWith = "sts:AssumeRoleWithWebIdentity"
)

// open opens a store at a.
func open(t *testing.T, a *testenv.AWS, settings map[string]any, refs providers.References) (providers.Reader, error) {
	t.Helper()
	return aws.New(aws.Endpoints{SecretsManager: a.Address(), ParameterStore: a.Address(), STS: a.Address(), CA: a.CA})(t.Context(), store(t, settings, refs))
}

// user opens a store with the access key of a new user.
func user(t *testing.T, a *testenv.AWS, name string, allow ...testenv.AWSStatement) (providers.Reader, testenv.AccessKey) {
	t.Helper()
	key, err := a.User(t.Context(), name, allow...)
	if err != nil {
		t.Fatal(err)
	}
	r, err := open(t, a, byKey(), keyPair(key.ID, key.Secret))
	if err != nil {
		t.Fatal(err)
	}
	return r, key
}

// may allows to read secrets whose names match.
func may(pattern string) testenv.AWSStatement {
	return testenv.AWSStatement{Actions: []string{get}, Resources: []string{pattern}}
}

// plant stores a canary under name.
func plant(t *testing.T, a *testenv.AWS, name string) *testenv.Canary {
	t.Helper()
	c := testenv.NewCanary(t)
	if _, err := a.PutSecret(t.Context(), region, name, c.Value()); err != nil {
		t.Fatal(err)
	}
	return c
}

// mustRead fails t unless ref reads as the value of the canary.
func mustRead(t *testing.T, r providers.Reader, ref providers.Ref, c *testenv.Canary) {
	t.Helper()
	v, err := r.Read(t.Context(), ref)
	if err != nil {
		t.Error(err)
		return
	}
	if string(v.Bytes()) != c.Value() {
		t.Errorf("Read(%+v): got another value", ref)
	}
}

// wantCounts fails t unless a has had exactly these requests since the counts
// were reset.
func wantCounts(t *testing.T, a *testenv.AWS, want map[string]int) {
	t.Helper()
	got, err := a.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, operation := range []string{get, assume, assumeWith} {
		if got[operation] != want[operation] {
			t.Errorf("requests %s: got %d, want %d", operation, got[operation], want[operation])
		}
	}
}

func resetCounts(t *testing.T, a *testenv.AWS) {
	t.Helper()
	if err := a.ResetCounts(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestStages(t *testing.T) {
	a := server.Get(t)
	r, _ := user(t, a, "stages")
	first, second := plant(t, a, "stages"), plant(t, a, "stages")
	resetCounts(t, a)
	mustRead(t, r, providers.Ref{Path: "stages"}, second)
	mustRead(t, r, providers.Ref{Path: "stages", Version: "AWSCURRENT"}, second)
	mustRead(t, r, providers.Ref{Path: "stages", Version: "AWSPREVIOUS"}, first)
	if _, err := r.Read(t.Context(), providers.Ref{Path: "stages", Version: "NOSUCH"}); !errors.Is(err, providers.ErrNotFound) {
		t.Errorf("Read of a stage that is not there: got %v, want ErrNotFound", err)
	}
	wantCounts(t, a, map[string]int{get: 4})
}

func TestBinaryAndPrefix(t *testing.T) {
	a := server.Get(t)
	value := "\x00\xff binary"
	if _, err := a.PutBinary(t.Context(), region, "team-a/binary", []byte(value)); err != nil {
		t.Fatal(err)
	}
	key, err := a.User(t.Context(), "binary")
	if err != nil {
		t.Fatal(err)
	}
	settings := byKey()
	settings["prefix"] = "team-a/"
	r, err := open(t, a, settings, keyPair(key.ID, key.Secret))
	if err != nil {
		t.Fatal(err)
	}
	if v, err := r.Read(t.Context(), providers.Ref{Path: "binary"}); err != nil || string(v.Bytes()) != value {
		t.Errorf("Read: got %q, %v, want %q", v.Bytes(), err, value)
	}
}

func TestWrongKey(t *testing.T) {
	a := server.Get(t)
	canary := plant(t, a, "wrong-key")
	_, key := user(t, a, "wrong-key")
	cases := map[string]*conformance.References{
		"UnknownID":   keyPair("AKIANOBODY", key.Secret),
		"WrongSecret": keyPair(key.ID, "wrong"),
	}
	for name, refs := range cases {
		t.Run(name, func(t *testing.T) {
			r, err := open(t, a, byKey(), refs)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Read(t.Context(), providers.Ref{Path: "wrong-key"}); !errors.Is(err, providers.ErrDenied) {
				t.Errorf("Read: got %v, want ErrDenied", err)
			}
			refs.Set("k", "id", key.ID)
			refs.Set("k", "secret", key.Secret)
			mustRead(t, r, providers.Ref{Path: "wrong-key"}, canary) // the Secret has another key by now
		})
	}
}

// irsa makes a role that ServiceAccount app of ns may assume, and what a store
// refers to.
func irsa(t *testing.T, r testenv.AWSRole) (*testenv.AWS, *conformance.References) {
	t.Helper()
	cp, a := cluster.Get(t), server.Get(t)
	ns := cp.Namespace(t)
	r.Subject = "system:serviceaccount:" + ns + ":app"
	arn, err := a.Role(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	roles := map[string]string{"eks.amazonaws.com/role-arn": arn}
	return a, &conformance.References{
		Accounts: map[string]map[string]string{"app": roles, "other": roles},
		TokenFn: func(ctx context.Context, account string, audiences []string) (string, error) {
			return cp.Token(ctx, ns, account, audiences...)
		},
	}
}

func TestServiceAccount(t *testing.T) {
	a, refs := irsa(t, testenv.AWSRole{Name: "irsa", Allow: []testenv.AWSStatement{may("irsa/*")}})
	canary := plant(t, a, "irsa/app")
	plant(t, a, "not-for-irsa")
	resetCounts(t, a)
	r, err := open(t, a, byAccount("app"), refs)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { mustRead(t, r, providers.Ref{Path: "irsa/app"}, canary) })
	}
	wg.Wait()
	wantCounts(t, a, map[string]int{assumeWith: 1, get: 20})
	if _, err := r.Read(t.Context(), providers.Ref{Path: "not-for-irsa"}); !errors.Is(err, providers.ErrDenied) {
		t.Errorf("Read of what the role may not: got %v, want ErrDenied", err)
	}
}

func TestServiceAccountRefused(t *testing.T) {
	a, refs := irsa(t, testenv.AWSRole{Name: "refused"})
	if _, err := open(t, a, byAccount("other"), refs); !errors.Is(err, providers.ErrDenied) {
		t.Errorf("Open as another ServiceAccount: got %v, want ErrDenied", err)
	}
	refs.Accounts["app"]["eks.amazonaws.com/audience"] = "someone-else"
	if _, err := open(t, a, byAccount("app"), refs); !errors.Is(err, providers.ErrDenied) {
		t.Errorf("Open with a token for someone else: got %v, want ErrDenied", err)
	}
}

func TestSessionIsRenewedBeforeItEnds(t *testing.T) {
	// Sessions are no longer used in their last minute: these for two seconds.
	a, refs := irsa(t, testenv.AWSRole{Name: "short", SessionSeconds: 62})
	canary := plant(t, a, "short")
	r, err := open(t, a, byAccount("app"), refs)
	if err != nil {
		t.Fatal(err)
	}
	resetCounts(t, a)
	for end := time.Now().Add(2200 * time.Millisecond); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		mustRead(t, r, providers.Ref{Path: "short"}, canary)
	}
	counts, err := a.Counts(t.Context())
	if err != nil || counts[assumeWith] < 1 || counts[assumeWith] > 2 {
		t.Errorf("reads for 2.2 s with sessions of 2 s: got %v, %v, want 1 or 2 requests %s", counts, err, assumeWith)
	}
}

func TestRefusedSessionIsReplacedOnce(t *testing.T) {
	a, refs := irsa(t, testenv.AWSRole{Name: "replaced"})
	canary := plant(t, a, "replaced")
	r, err := open(t, a, byAccount("app"), refs)
	if err != nil {
		t.Fatal(err)
	}
	resetCounts(t, a)
	if err := a.Fail(t.Context(), testenv.Fault{Operation: get, Code: "ExpiredTokenException", Status: http.StatusBadRequest, Times: 1}); err != nil {
		t.Fatal(err)
	}
	mustRead(t, r, providers.Ref{Path: "replaced"}, canary)
	wantCounts(t, a, map[string]int{assumeWith: 1, get: 2})
}

func TestRoles(t *testing.T) {
	a := server.Get(t)
	canary := plant(t, a, "roles")
	key, err := a.User(t.Context(), "roles", testenv.AWSStatement{Actions: []string{assume}})
	if err != nil {
		t.Fatal(err)
	}
	first, err := a.Role(t.Context(), testenv.AWSRole{Name: "first", Principals: []string{a.UserARN("roles")}})
	if err != nil {
		t.Fatal(err)
	}
	last, err := a.Role(t.Context(), testenv.AWSRole{Name: "last", Principals: []string{"arn:aws:sts::*:assumed-role/first/*"}, ExternalID: "external"})
	if err != nil {
		t.Fatal(err)
	}
	settings := byKey()
	settings["additionalRoles"], settings["role"], settings["externalID"] = []string{first}, last, "external"
	resetCounts(t, a)
	r, err := open(t, a, settings, keyPair(key.ID, key.Secret))
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		mustRead(t, r, providers.Ref{Path: "roles"}, canary)
	}
	wantCounts(t, a, map[string]int{assume: 2, get: 5})

	settings["externalID"] = "wrong"
	if _, err := open(t, a, settings, keyPair(key.ID, key.Secret)); !errors.Is(err, providers.ErrDenied) {
		t.Errorf("Open with the wrong externalID: got %v, want ErrDenied", err)
	}
}
