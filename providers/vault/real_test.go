package vault_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/vault"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

var (
	server = testenv.Share(func(t testing.TB) (*testenv.Vault, error) {
		return testenv.StartVault(t.Context(), testenv.VaultOptions{})
	})
	cluster = testenv.Share(func(t testing.TB) (*testenv.ControlPlane, error) {
		return testenv.StartControlPlane(t.Context(), testenv.Options{})
	})
)

func TestMain(m *testing.M) { testenv.Main(m) }

// settings are those of a store at v, with the given auth.
func settings(v *testenv.Vault, auth map[string]any) map[string]any {
	return map[string]any{"server": v.Address(), "path": "secret", "caBundle": v.CA, "auth": auth}
}

var byAppRole = map[string]any{"appRole": map[string]any{
	"roleRef": map[string]string{"name": "r", "key": "id"}, "secretRef": map[string]string{"name": "s", "key": "id"}}}

// logIn opens a store with an AppRole that r describes.
func logIn(t *testing.T, v *testenv.Vault, r testenv.VaultRole) (providers.Reader, []string) {
	t.Helper()
	role, secret, err := v.AppRole(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	refs := &conformance.References{}
	refs.Set("r", "id", role)
	refs.Set("s", "id", secret)
	reader, err := vault.Open(t.Context(), store(t, settings(v, byAppRole), refs))
	if err != nil {
		t.Fatal(err)
	}
	return reader, []string{role, secret}
}

// mustRead fails t unless path reads as the value of the canary.
func mustRead(t *testing.T, r providers.Reader, path string, c *testenv.Canary) {
	t.Helper()
	v, err := r.Read(t.Context(), providers.Ref{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if err := json.Unmarshal(v.Bytes(), &got); err != nil || got["password"] != c.Value() {
		t.Errorf("Read(%s): got another value (%v)", path, err)
	}
}

// plant stores a canary at path.
func plant(t *testing.T, v *testenv.Vault, path string) *testenv.Canary {
	t.Helper()
	c := testenv.NewCanary(t)
	if _, err := v.Put(t.Context(), path, map[string]any{"password": c.Value()}); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestToken(t *testing.T) {
	v := server.Get(t)
	canary := plant(t, v, "token/app")
	token, err := v.Token(t.Context(), testenv.VaultRole{Name: "token", Policy: testenv.Allow("secret/data/token/*")})
	if err != nil {
		t.Fatal(err)
	}
	refs := &conformance.References{Authority: v.CA}
	refs.Set("t", "t", token)
	with := settings(v, map[string]any{"tokenSecretRef": map[string]string{"name": "t", "key": "t"}})
	delete(with, "caBundle")
	with["caProvider"] = map[string]string{"type": "ConfigMap", "name": "ca", "key": "ca.crt"}
	r, err := vault.Open(t.Context(), store(t, with, refs))
	if err != nil {
		t.Fatal(err)
	}
	mustRead(t, r, "token/app", canary)
}

func TestAppRole(t *testing.T) {
	v := server.Get(t)
	canary := plant(t, v, "approle/app")
	r, _ := logIn(t, v, testenv.VaultRole{Name: "approle", Policy: testenv.Allow("secret/data/approle/*")})
	if err := v.ResetCounts(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		mustRead(t, r, "approle/app", canary)
	}
	counts, err := v.Counts(t.Context())
	if err != nil || len(counts) != 1 || counts["GET secret/data"] != 5 {
		t.Errorf("5 reads: got %v, %v, want 5 requests GET secret/data and no other", counts, err)
	}
}

func TestAppRoleTokenExpires(t *testing.T) {
	v := server.Get(t)
	canary := plant(t, v, "short/app")
	r, _ := logIn(t, v, testenv.VaultRole{Name: "short", Policy: testenv.Allow("secret/data/short/*"), TTL: 2 * time.Second})
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		mustRead(t, r, "short/app", canary)
	}
}

func TestAppRoleTokenIsRevoked(t *testing.T) {
	v := server.Get(t)
	canary := plant(t, v, "revoked/app")
	r, _ := logIn(t, v, testenv.VaultRole{Name: "revoked", Policy: testenv.Allow("secret/data/revoked/*")})
	mustRead(t, r, "revoked/app", canary)
	if err := v.Call(t.Context(), http.MethodPost, "sys/leases/revoke-prefix/auth/approle", nil, nil); err != nil {
		t.Fatal(err)
	}
	mustRead(t, r, "revoked/app", canary)
}

func TestKubernetesAuth(t *testing.T) {
	v, cp := server.Get(t), cluster.Get(t)
	ns := cp.Namespace(t)
	canary := plant(t, v, "kubernetes/app")
	role := testenv.VaultRole{Name: "kubernetes", Policy: testenv.Allow("secret/data/kubernetes/*")}
	if err := v.KubernetesRole(t.Context(), cp, role, testenv.VaultSubject{Namespace: ns, Name: "app", Audience: "vault"}); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		reason    string
		account   string
		audiences []string
		secret    bool // the token comes from a Secret
		denied    bool
	}{
		"Account":       {reason: "The ServiceAccount of the role gets in.", account: "app"},
		"TokenOfSecret": {reason: "So does a token of it in a Secret.", account: "app", secret: true},
		"Other":         {reason: "Another one does not.", account: "other", denied: true},
		"Audience":      {reason: "Nor does it with a token for someone else.", account: "app", audiences: []string{"someone-else"}, denied: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			refs := &conformance.References{TokenFn: func(ctx context.Context, account string, audiences []string) (string, error) {
				return cp.Token(ctx, ns, account, audiences...)
			}}
			auth := map[string]any{"role": "kubernetes", "serviceAccountRef": map[string]any{"name": tc.account, "audiences": tc.audiences}}
			if tc.secret {
				token, err := cp.Token(t.Context(), ns, tc.account, "vault")
				if err != nil {
					t.Fatal(err)
				}
				refs.Set("k", "token", token)
				auth = map[string]any{"role": "kubernetes", "secretRef": map[string]string{"name": "k"}}
			}
			r, err := vault.Open(t.Context(), store(t, settings(v, map[string]any{"kubernetes": auth}), refs))
			if tc.denied {
				if !errors.Is(err, providers.ErrDenied) {
					t.Errorf("%s\nOpen: got %v, want ErrDenied", tc.reason, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			mustRead(t, r, "kubernetes/app", canary)
		})
	}
}

func TestLoginRefused(t *testing.T) {
	v := server.Get(t)
	refs := &conformance.References{}
	refs.Set("r", "id", "no-such-role")
	refs.Set("s", "id", "no-such-secret-id")
	at := func(path string) map[string]any {
		return map[string]any{"appRole": map[string]any{"path": path, "roleId": "no-such-role", "secretRef": map[string]string{"name": "s", "key": "id"}}}
	}
	for _, path := range []string{"approle", "not-enabled"} {
		_, err := vault.Open(t.Context(), store(t, settings(v, at(path)), refs))
		if !errors.Is(err, providers.ErrDenied) || !strings.Contains(err.Error(), "auth/"+path) || strings.Contains(err.Error(), "no-such") {
			t.Errorf("Open with an AppRole that is not there: got %v, want ErrDenied with auth/%s in it, without the credentials", err, path)
		}
	}
}

func TestVersionsOfTheEngine(t *testing.T) {
	v := server.Get(t)
	if err := v.Mount(t.Context(), "kv1", 1); err != nil {
		t.Fatal(err)
	}
	if err := v.Call(t.Context(), http.MethodPost, "kv1/app", map[string]string{"a": "b"}, nil); err != nil {
		t.Fatal(err)
	}
	plant(t, v, "versions/app")
	refs := &conformance.References{}
	refs.Set("t", "t", v.RootToken)
	cases := map[string]struct {
		reason        string
		path, version string
		key           string
		want          error
		text          string
	}{
		"V1":         {"Version 1 is read.", "kv1", "v1", "app", nil, `{"a":"b"}`},
		"V1Missing":  {"What is not there is not there.", "kv1", "v1", "none", providers.ErrNotFound, "kv1"},
		"V2Missing":  {"Nor in version 2.", "secret", "v2", "none", providers.ErrNotFound, "secret"},
		"V2AsV1":     {"The wrong version is named.", "secret", "v1", "versions/app", providers.ErrInvalid, "version to v2"},
		"NoEngine":   {"An engine that is not there is no missing secret.", "none", "v2", "app", providers.ErrDenied, `"none"`},
		"NoEngineV1": {"In no version.", "none", "v1", "app", providers.ErrDenied, `"none"`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			with := settings(v, map[string]any{"tokenSecretRef": map[string]string{"name": "t", "key": "t"}})
			with["path"], with["version"] = tc.path, tc.version
			r, err := vault.Open(t.Context(), store(t, with, refs))
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.Read(t.Context(), providers.Ref{Path: tc.key})
			if tc.want == nil {
				if err != nil || string(got.Bytes()) != tc.text {
					t.Errorf("%s\nRead: got %q, %v, want %s", tc.reason, got.Bytes(), err, tc.text)
				}
				return
			}
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("%s\nRead: got %v, want %q with %q in it", tc.reason, err, tc.want, tc.text)
			}
		})
	}
}

func TestDeletedVersion(t *testing.T) {
	v := server.Get(t)
	plant(t, v, "deleted/app")
	canary := plant(t, v, "deleted/app")
	r, _ := logIn(t, v, testenv.VaultRole{Name: "deleted", Policy: testenv.Allow("secret/data/deleted/*")})
	mustRead(t, r, "deleted/app", canary)
	if err := v.Call(t.Context(), http.MethodDelete, "secret/data/deleted/app", nil, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(t.Context(), providers.Ref{Path: "deleted/app"}); !errors.Is(err, providers.ErrNotFound) {
		t.Errorf("Read of a deleted version: got %v, want ErrNotFound", err)
	}
	if _, err := r.Read(t.Context(), providers.Ref{Path: "deleted/app", Version: "1"}); err != nil {
		t.Errorf("Read of the version before: %v", err)
	}
}

func TestSealed(t *testing.T) {
	v := server.Get(t)
	canary := plant(t, v, "sealed/app")
	r, _ := logIn(t, v, testenv.VaultRole{Name: "sealed", Policy: testenv.Allow("secret/data/sealed/*")})
	if err := v.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := r.Read(t.Context(), providers.Ref{Path: "sealed/app"})
	refs := &conformance.References{}
	refs.Set("r", "id", "role")
	refs.Set("s", "id", "secret")
	_, openErr := vault.Open(t.Context(), store(t, settings(v, byAppRole), refs))
	if err := v.Unseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"Read": err, "Open": openErr} {
		if !errors.Is(err, providers.ErrUnavailable) || !strings.Contains(err.Error(), "is sealed: unseal it") {
			t.Errorf("%s while it is sealed: got %v, want ErrUnavailable that says so", what, err)
		}
	}
	mustRead(t, r, "sealed/app", canary)
}

func TestThrottledByTheServer(t *testing.T) {
	v := server.Get(t)
	plant(t, v, "throttled/app")
	r, _ := logIn(t, v, testenv.VaultRole{Name: "throttled", Policy: testenv.Allow("secret/data/throttled/*")})
	if err := v.Fail(t.Context(), testenv.Fault{Operation: "GET secret/data", Status: http.StatusTooManyRequests, Code: "rate limit", Times: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(t.Context(), providers.Ref{Path: "throttled/app"}); !errors.Is(err, providers.ErrThrottled) {
		t.Errorf("Read beyond a quota: got %v, want ErrThrottled", err)
	}
}
