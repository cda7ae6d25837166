package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// tell calls the webhook of the tenant's store as docs/external-secrets-events.md
// says, and returns the status of the answer.
func (c *tenant) tell(signedWith string, keys ...string) int {
	c.t.Helper()
	body, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		c.t.Fatal(err)
	}
	mac := hmac.New(sha256.New, []byte(signedWith))
	_, _ = mac.Write(body) // a hash never fails
	url := "http://" + c.s.Controller.Events + "/events/" + c.ns + "/vault"
	request, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, url, strings.NewReader(string(body)))
	if err != nil {
		c.t.Fatal(err)
	}
	request.Header.Set("X-Lockstep-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

// reads is how often Vault was read since the counts began.
func (c *tenant) reads() int {
	c.t.Helper()
	counts, err := c.s.Vault.Counts(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return counts["GET secret/data"]
}

// TestWebhookInsteadOfPolling changes a secret in Vault and tells the running
// controller: the Secret follows at the price of one read, though the interval
// is an hour. What is not signed with the store's key, or about another secret,
// costs no read.
func TestWebhookInsteadOfPolling(t *testing.T) {
	c := newTenant(t)
	key0, next := testenv.NewCanary(t), testenv.NewCanary(t)
	hook := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: c.ns, Name: "hook"}, StringData: map[string]string{"key": key0.Value()}}
	if err := c.s.Ensure(t.Context(), hook); err != nil {
		t.Fatal(err)
	}
	store := &esv1.SecretStore{}
	if err := c.s.Client.Get(t.Context(), key(c.ns, "vault"), store); err != nil {
		t.Fatal(err)
	}
	before := store.DeepCopy()
	store.Annotations = map[string]string{"lockstep.dev/events-webhook-secret": "hook"}
	if err := c.s.Client.Patch(t.Context(), store, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	eventually(t, enough, func() string { // until the controller has seen the annotation
		if status := c.tell(key0.Value(), c.ns+"/other"); status != http.StatusAccepted {
			return "a message about another secret: " + http.StatusText(status)
		}
		return ""
	})

	if _, err := c.s.Vault.Put(t.Context(), c.ns+"/db", map[string]any{"password": next.Value()}); err != nil {
		t.Fatal(err)
	}
	if err := c.s.Vault.ResetCounts(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status := c.tell("another key of a webhook", c.ns+"/db"); status != http.StatusUnauthorized {
		t.Errorf("a message with a wrong signature: status %d, want 401", status)
	}
	if status := c.tell(key0.Value(), c.ns+"/other"); status != http.StatusAccepted {
		t.Errorf("a message about another secret: status %d, want 202", status)
	}
	time.Sleep(500 * time.Millisecond) // ten times what a read takes
	if n := c.reads(); n != 0 {
		t.Errorf("reads of Vault before the message: got %d, want 0", n)
	}
	if wrong := c.good(); wrong != "" {
		t.Errorf("before the message: %s", wrong)
	}

	begin := time.Now()
	if status := c.tell(key0.Value(), c.ns+"/db"); status != http.StatusAccepted {
		t.Fatalf("the message: status %d, want 202", status)
	}
	eventually(t, enough, func() string {
		return secretHolds(t, c.s, key(c.ns, "db"), map[string]string{"password": next.Value()})
	})
	t.Logf("the Secret followed %s after the message", time.Since(begin))
	if n := c.reads(); n != 1 {
		t.Errorf("reads of Vault for the message: got %d, want 1", n)
	}
	noLeak(t, c.s, next, key(c.ns, "db"))
	noLeak(t, c.s, key0, key(c.ns, "hook"))
}
