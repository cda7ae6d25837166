package stores_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/externalsecrets/stores"
	"github.com/lockstep-dev/lockstep/providers"
)

func TestIdentityAmbient(t *testing.T) {
	cases := map[string]struct {
		reason    string
		patterns  []string
		namespace string
		want      bool
	}{
		"Cluster":     {reason: "A ClusterSecretStore may use it.", want: true},
		"Namespaced":  {reason: "A SecretStore may not.", namespace: "team-a"},
		"Listed":      {reason: "Unless its namespace is listed.", patterns: []string{"other", "team-a"}, namespace: "team-a", want: true},
		"Pattern":     {reason: "By a pattern, too.", patterns: []string{"team-*"}, namespace: "team-a", want: true},
		"Whole":       {reason: "That fits the whole name.", patterns: []string{"team-*"}, namespace: "evil-team-a"},
		"NotListed":   {reason: "One that is not listed may not.", patterns: []string{"team-b"}, namespace: "team-a"},
		"NoPattern":   {reason: "What is no pattern lists nobody.", patterns: []string{"[team"}, namespace: "[team"},
		"EmptyListed": {reason: "Nor does an empty one.", patterns: []string{""}, namespace: "team-a"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := (stores.Identity{AmbientNamespaces: tc.patterns}).Ambient(tc.namespace); got != tc.want {
				t.Errorf("%s\nAmbient: got %v, want %v", tc.reason, got, tc.want)
			}
		})
	}
}

// TestWhoMayUseTheControllersIdentity looks at what a backend is told when a
// store is opened.
func TestWhoMayUseTheControllersIdentity(t *testing.T) {
	b := start(t)
	told := map[string]providers.Config{}
	var mu sync.Mutex
	b.stores.Registry = providers.Registry{"fake": func(_ context.Context, c providers.Config) (providers.Reader, error) {
		mu.Lock()
		defer mu.Unlock()
		told[c.Store.Kind+"/"+c.Store.Namespace] = c
		return opened{}, nil
	}}
	b.stores.Identity = stores.Identity{AmbientNamespaces: []string{b.other}}
	b.apply("metadata: {name: NS-ambient}\nspec: {provider: {fake: {data: []}}}", &esv1.ClusterSecretStore{})
	for _, ns := range []string{"NS", "OTHER"} {
		b.apply("metadata: {name: ambient, namespace: "+ns+"}\nspec: {provider: {fake: {data: []}}}", &esv1.SecretStore{})
	}
	last := ""
	eventually(t, "the stores to be there", &last, func() bool {
		_, one := b.read(esv1.SecretStoreKind, b.ns, "ambient")
		_, two := b.read(esv1.SecretStoreKind, b.other, "ambient")
		_, three := b.read(esv1.ClusterSecretStoreKind, b.ns, b.ns+"-ambient")
		last = fmt.Sprint(one, two, three)
		return one == nil && two == nil && three == nil
	})
	mu.Lock()
	defer mu.Unlock()
	for who, want := range map[string]bool{esv1.SecretStoreKind + "/" + b.ns: false, esv1.SecretStoreKind + "/" + b.other: true, esv1.ClusterSecretStoreKind + "/": true} {
		if c, ok := told[who]; !ok || c.Ambient != want || c.LinkLocal {
			t.Errorf("%s: told %v with Ambient %v and LinkLocal %v, want Ambient %v and no LinkLocal", who, ok, c.Ambient, c.LinkLocal, want)
		}
	}
}

// TestTokensHaveAnAudience wants no way to get a token that the API server
// itself accepts.
func TestTokensHaveAnAudience(t *testing.T) {
	b := start(t)
	b.apply("metadata: {name: sa, namespace: NS}", &corev1.ServiceAccount{})
	refs := b.stores.References(b.ns)
	ref := esv1.ServiceAccountSelector{Name: "sa"}
	if _, _, err := refs.Token(t.Context(), ref, nil, 0); err == nil {
		t.Error("Token without an audience: got one, want an error")
	}
	token, _, err := refs.Token(t.Context(), ref, []string{"vault"}, 0)
	if err != nil || len(token.Bytes()) == 0 {
		t.Fatalf("Token: %v", err)
	}
	if _, until, err := refs.Token(t.Context(), ref, []string{"vault"}, time.Hour); err != nil || time.Until(until) < 50*time.Minute {
		t.Errorf("a token for an hour: it ends at %s, %v", until, err)
	}
	bearer := rest.AnonymousClientConfig(b.cp.RestConfig())
	bearer.BearerToken = string(token.Bytes())
	api, err := kubernetes.NewForConfig(bearer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.CoreV1().Pods(b.ns).List(t.Context(), metav1.ListOptions{}); !apierrors.IsUnauthorized(err) {
		t.Errorf("a token for Vault, shown to the API server: got %v, want Unauthorized", err)
	}
}
