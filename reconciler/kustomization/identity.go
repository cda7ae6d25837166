package kustomization

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/lockstep-dev/lockstep/reconciler/apply"
)

// clusterTokenSeconds is how long a token for another cluster lives. It is
// made anew when a fifth of that is left.
const clusterTokenSeconds = 3600

// identityConfig is the way to a cluster that trusts tokens of a
// ServiceAccount of this one. The controller's own tokens go to no other
// cluster.
func (c *Controller) identityConfig(ctx context.Context, ks *kustomizev1.Kustomization, data map[string]string) (*rest.Config, error) {
	provider, address := data[meta.KubeConfigKeyProvider], data[meta.KubeConfigKeyAddress]
	cloud, ok := clouds[provider]
	if !ok && provider != "generic" {
		return nil, fmt.Errorf("provider %q is not known: use aws, azure, gcp, or generic for a cluster that trusts this one's tokens", provider)
	}
	if !strings.HasPrefix(address, "https://") && (address != "" || !ok) {
		return nil, fmt.Errorf("address %q: must begin with https://", address)
	}
	account := or(data[meta.KubeConfigKeyServiceAccountName], c.DefaultServiceAccount)
	if account == "" {
		return nil, fmt.Errorf("serviceAccountName is missing: name a ServiceAccount of namespace %s that the cluster, or its cloud, trusts", ks.Namespace)
	}
	if ok {
		return c.cloudConfig(ctx, cloud, types.NamespacedName{Namespace: ks.Namespace, Name: account}, data)
	}
	audiences := strings.Fields(data[meta.KubeConfigKeyAudiences])
	if len(audiences) == 0 {
		audiences = []string{address}
	}
	self, err := c.Clients.For(apply.Account{})
	if err != nil {
		return nil, err
	}
	return withToken(address, []byte(data[meta.KubeConfigKeyCACert]), func(ctx context.Context) (string, time.Time, error) {
		return self.Token(ctx, ks.Namespace, account, audiences, clusterTokenSeconds)
	}), nil
}

// withToken is the way to a cluster that takes tokens that do not live long.
func withToken(address string, ca []byte, fresh func(context.Context) (string, time.Time, error)) *rest.Config {
	config := &rest.Config{Host: address, TLSClientConfig: rest.TLSClientConfig{CAData: ca}}
	token := &tokens{make: fresh}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return bearer{token, next} })
	return config
}

// tokens keeps the newest token of an account.
type tokens struct {
	make func(context.Context) (string, time.Time, error)

	mu    sync.Mutex
	token string
	until time.Time
}

func (t *tokens) get(ctx context.Context) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now() //nolint:forbidigo // of a token's life, which the API server ends by its own clock
	if now.Before(t.until) {
		return t.token, nil
	}
	token, expires, err := t.make(ctx)
	if err != nil {
		return "", fmt.Errorf("make a token for the cluster: %w", err)
	}
	t.token, t.until = token, now.Add(expires.Sub(now)*4/5)
	return token, nil
}

// forget drops a token that was refused.
func (t *tokens) forget(token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token == token {
		t.until = time.Time{}
	}
}

// bearer puts a token on requests.
type bearer struct {
	tokens *tokens
	next   http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	token, err := b.tokens.get(r.Context())
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := b.next.RoundTrip(r)
	if err == nil && answer.StatusCode == http.StatusUnauthorized {
		b.tokens.forget(token)
	}
	return answer, err //nolint:wrapcheck // a transport hands on what the next one says
}
