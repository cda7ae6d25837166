package vault_test

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// TestDynamicSecretWaysIn asks a real server for a secret with a lease, by each
// way in, and counts: a login and the request. What is made ends with its lease
// or with the token of the login, and nothing is renewed, looked up or revoked:
// whoever has the values may still use them when there are new ones.
func TestDynamicSecretWaysIn(t *testing.T) {
	v := server.Get(t)
	must(t, v.Mount(t.Context(), "leases", 1))
	unmounted(t, v, "leases")
	must(t, v.Call(t.Context(), http.MethodPost, "leases/app", map[string]any{"user": "ada", "ttl": "5m"}, nil))
	logins := map[string]string{"Token": "sys/wrapping", "AppRole": "auth/approle", "Kubernetes": "auth/kubernetes", "UserPass": "auth/userpass"}
	for name, in := range waysIntoOpenBao {
		t.Run(name, func(t *testing.T) {
			refs := &conformance.References{}
			m := maker{t: t, refs: refs, provider: &esv1.VaultProvider{Server: v.Address(), CABundle: v.CA, Auth: &esv1.VaultAuth{}}}
			auth, err := json.Marshal(in(t, v, testenv.VaultRole{Name: "leases", Policy: testenv.Allow("leases/app"), TTL: time.Hour}, refs))
			must(t, err)
			must(t, json.Unmarshal(auth, m.provider.Auth))
			must(t, v.ResetCounts(t.Context()))
			for range 3 {
				made, err := m.make(genv1.VaultDynamicSecretSpec{Path: "leases/app"})
				must(t, err)
				wantEnd(t, made, 5*time.Minute)
			}
			counts, err := v.Counts(t.Context())
			must(t, err)
			want := map[string]int{"PUT " + logins[name]: 3, "GET leases/app": 3}
			if diff := cmp.Diff(want, counts); diff != "" {
				t.Errorf("requests for three secrets (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDynamicSecretNamesItsFields wants errors to name the fields of a
// generator, whose provider is no store's.
func TestDynamicSecretNamesItsFields(t *testing.T) {
	for field, auth := range map[string]*esv1.VaultAuth{
		"spec.provider.auth: ":               {},
		"spec.provider.auth.kubernetes: ":    {Kubernetes: &esv1.VaultKubernetesAuth{Role: "r"}},
		"spec.provider.auth.tokenSecretRef:": {TokenSecretRef: &esv1.SecretKeySelector{Name: "none", Key: "t"}},
	} {
		m := maker{t: t, refs: &conformance.References{}, provider: &esv1.VaultProvider{Server: "https://127.0.0.1:1", Auth: auth}}
		if _, err := m.make(genv1.VaultDynamicSecretSpec{Path: "leases/app"}); !errors.Is(err, providers.ErrInvalid) || !strings.HasPrefix(err.Error(), field) {
			t.Errorf("got %v, want ErrInvalid of %s", err, field)
		}
	}
}

// TestDynamicSecretLeavesNothing has a server make tokens that the spec does
// not take. They end, and so do those of the logins.
func TestDynamicSecretLeavesNothing(t *testing.T) {
	v := server.Get(t)
	policy := "nothing-left-" + strings.ToLower(rand.Text()) // of this run only
	m := newMaker(t, v, testenv.VaultRole{Name: policy, Policy: makes, TTL: time.Hour})
	spec := genv1.VaultDynamicSecretSpec{Path: "auth/token/create", Method: "POST"} // the answer has auth, and no data
	for range 3 {
		if _, err := m.make(spec); !errors.Is(err, providers.ErrInvalid) || !strings.Contains(err.Error(), "resultType") {
			t.Fatalf("got %v, want ErrInvalid with the way out", err)
		}
		if _, err := m.make(genv1.VaultDynamicSecretSpec{Path: "sys/mounts"}); !errors.Is(err, providers.ErrDenied) {
			t.Fatalf("got %v, want ErrDenied", err)
		}
	}
	if left := tokens(t, v, policy); left != 0 {
		t.Errorf("%d tokens are left after six failures, want none", left)
	}
	spec.ResultType = genv1.VaultResultAuth
	_, err := m.make(spec)
	must(t, err)
	if left := tokens(t, v, policy); left != 2 {
		t.Errorf("%d tokens after one was made, want two: that and the one of the login", left)
	}
}

// tokens counts the tokens with a policy that a server knows.
func tokens(t *testing.T, v *testenv.Vault, policy string) int {
	t.Helper()
	var out struct {
		Data struct {
			Keys []string `json:"keys"`
		} `json:"data"`
	}
	must(t, v.Call(t.Context(), http.MethodGet, "auth/token/accessors?list=true", nil, &out))
	found := 0
	for _, accessor := range out.Data.Keys {
		var token struct {
			Data struct {
				Policies []string `json:"policies"`
			} `json:"data"`
		}
		// One of another test may end before it is looked up.
		if err := v.Call(t.Context(), http.MethodPost, "auth/token/lookup-accessor", map[string]string{"accessor": accessor}, &token); err == nil && slices.Contains(token.Data.Policies, policy) {
			found++
		}
	}
	return found
}
