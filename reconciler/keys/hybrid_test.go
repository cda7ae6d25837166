package keys_test

import (
	"net/http/httptest"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/lockstep-dev/lockstep/reconciler/keys"
	"github.com/lockstep-dev/lockstep/sealer"
)

// A key Secret that Sealed Secrets made gets a key of envelope 2, the next one
// that comes gets one of the same cluster, and what is published is signed by
// both and opens.
func TestHybridKeys(t *testing.T) {
	b := newBench(t)
	key, cert := newKey(t)
	b.keySecret("old", active(), key, cert)
	c, _ := b.run("")
	complete := func(n int) func() bool {
		return func() bool {
			count := 0
			for _, k := range c.Ring.Keys() {
				if k.Hybrid != nil {
					count++
				}
			}
			return count == n
		}
	}
	eventually(t, "a key of envelope 2 for the old key", complete(1))
	cluster, _ := c.Ring.Cluster()
	before := bundle(t, c)

	key, cert = newKey(t)
	b.keySecret("brought", active(), key, cert)
	eventually(t, "a key of envelope 2 for the key that was brought", complete(2))
	if now, ok := c.Ring.Cluster(); !ok || now != cluster {
		t.Errorf("the cluster was %v, and is %v", cluster, now)
	}
	after := bundle(t, c)
	if err := before.Pin().Trusts(after); err != nil {
		t.Errorf("who trusted the old key does not trust the new one: %v", err)
	}
	at := sealer.Place{Binding: sealer.Binding{Namespace: "a", Name: "b"}, Item: "c"}
	text, err := sealer.SealItem([]byte("v"), at, after.Newest())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Ring.OpenItem(text, at, ""); err != nil || string(got.Value) != "v" {
		t.Errorf("sealed with what is published: %v", err)
	}
	for _, s := range b.secrets() {
		if public := string(s.Data[keys.DataHybridPublic]); s.Type == corev1.SecretTypeTLS && len(s.Data[keys.DataHybridKey]) > 0 {
			if _, err := sealer.ParseRecipient(public, cluster); err != nil {
				t.Errorf("Secret %s: %v", s.Name, err)
			}
		}
	}
}

func bundle(t *testing.T, c *keys.Controller) *sealer.Bundle {
	t.Helper()
	w := httptest.NewRecorder()
	c.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/v1/keys", nil))
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("GET /v1/keys: %d %s", w.Code, w.Body)
	}
	out, err := sealer.ParseBundle(w.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return out
}
