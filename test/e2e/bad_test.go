package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/test/stage"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// tenant is a namespace with a store of the real Vault, and one ExternalSecret
// that is Ready.
type tenant struct {
	t      *testing.T
	s      *stage.Stage
	ns     string
	canary *testenv.Canary
}

func newTenant(t *testing.T) *tenant {
	t.Helper()
	s := shared.Get(t)
	c := &tenant{t: t, s: s, ns: s.Cluster.Namespace(t), canary: testenv.NewCanary(t)}
	if _, err := s.Vault.Put(t.Context(), c.ns+"/db", map[string]any{"password": c.canary.Value()}); err != nil {
		t.Fatal(err)
	}
	token, err := s.Vault.Token(t.Context(), testenv.VaultRole{Name: c.ns, Policy: testenv.Allow("secret/data/" + c.ns + "/*")})
	if err != nil {
		t.Fatal(err)
	}
	path := "secret"
	store := &esv1.SecretStore{ObjectMeta: metav1.ObjectMeta{Namespace: c.ns, Name: "vault"}}
	store.Spec.Provider = &esv1.SecretStoreProvider{Vault: &esv1.VaultProvider{
		Server: s.Vault.Address(), Path: &path, CABundle: s.Vault.CA,
		Auth: &esv1.VaultAuth{TokenSecretRef: &esv1.SecretKeySelector{Name: "token", Key: "token"}},
	}}
	if err := s.Ensure(t.Context(), store,
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: c.ns, Name: "token"}, StringData: map[string]string{"token": token}},
		c.external()); err != nil {
		t.Fatal(err)
	}
	eventually(t, enough, func() string { return c.good() })
	return c
}

// external is an ExternalSecret that works.
func (c *tenant) external() *esv1.ExternalSecret {
	es := &esv1.ExternalSecret{ObjectMeta: metav1.ObjectMeta{Namespace: c.ns, Name: "db"}}
	es.Spec.SecretStoreRef.Name = "vault"
	es.Spec.RefreshInterval = &metav1.Duration{Duration: time.Hour}
	es.Spec.Data = []esv1.ExternalSecretData{{SecretKey: "password", RemoteRef: esv1.RemoteRef{Key: c.ns + "/db", Property: "password"}}}
	return es
}

// good says what is wrong with the ExternalSecret or its Secret.
func (c *tenant) good() string {
	if wrong := notReady(c.t, c.s, &esv1.ExternalSecret{}, key(c.ns, "db")); wrong != "" {
		return wrong
	}
	return secretHolds(c.t, c.s, key(c.ns, "db"), map[string]string{"password": c.canary.Value()})
}

// change edits the ExternalSecret.
func (c *tenant) change(f func(*esv1.ExternalSecret)) {
	c.t.Helper()
	es := &esv1.ExternalSecret{}
	if err := c.s.Client.Get(c.t.Context(), key(c.ns, "db"), es); err != nil {
		c.t.Fatal(err)
	}
	before := es.DeepCopy()
	f(es)
	if err := c.s.Client.Patch(c.t.Context(), es, client.MergeFrom(before)); err != nil {
		c.t.Fatal(err)
	}
}

// failed waits for Ready=False with all parts in its message, and checks that
// there is one Event for it and that the Secret is as it was.
func (c *tenant) failed(parts ...string) {
	c.t.Helper()
	var message string
	eventually(c.t, enough, func() string {
		es := &esv1.ExternalSecret{}
		if err := c.s.Client.Get(c.t.Context(), key(c.ns, "db"), es); err != nil {
			return err.Error()
		}
		ready := apimeta.FindStatusCondition(es.GetConditions(), "Ready")
		if ready == nil || ready.Status != metav1.ConditionFalse || ready.Reason != esv1.ReasonSecretSyncedError {
			return fmt.Sprintf("want Ready=False; conditions: %+v", es.Status.Conditions)
		}
		message = ready.Message
		for _, p := range parts {
			if !strings.Contains(message, p) {
				return fmt.Sprintf("want %q in %q", p, message)
			}
		}
		return ""
	})
	if wrong := secretHolds(c.t, c.s, key(c.ns, "db"), map[string]string{"password": c.canary.Value()}); wrong != "" {
		c.t.Errorf("the Secret that worked: %s", wrong)
	}
	eventually(c.t, enough, func() string {
		var events corev1.EventList
		if err := c.s.Client.List(c.t.Context(), &events, client.InNamespace(c.ns)); err != nil {
			return err.Error()
		}
		n := int32(0)
		for _, e := range events.Items {
			if e.Type == corev1.EventTypeWarning && e.InvolvedObject.Kind == "ExternalSecret" && e.Message == message {
				n += max(1, e.Count)
			}
		}
		if n != 1 {
			return fmt.Sprintf("events with %q: got %d, want 1", message, n)
		}
		return ""
	})
}

func TestBadReferencesSayWhatToDoAndRecover(t *testing.T) {
	cases := map[string]struct {
		spoil func(*esv1.ExternalSecret)
		parts []string
	}{
		"NoStore":    {func(es *esv1.ExternalSecret) { es.Spec.SecretStoreRef.Name = "nowhere" }, []string{"nowhere"}},
		"NoKey":      {func(es *esv1.ExternalSecret) { es.Spec.Data[0].RemoteRef.Key += "-not-there" }, []string{"spec.data[0]", "-not-there"}},
		"NoProperty": {func(es *esv1.ExternalSecret) { es.Spec.Data[0].RemoteRef.Property = "nope" }, []string{"spec.data[0]", "nope"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newTenant(t)
			c.change(tc.spoil)
			c.failed(tc.parts...)
			c.change(func(es *esv1.ExternalSecret) { es.Spec = c.external().Spec })
			eventually(t, 2*time.Second, c.good)
			noLeak(t, c.s, c.canary, key(c.ns, "db"))
		})
	}
}

func TestVaultSealed(t *testing.T) {
	c := newTenant(t)
	if err := c.s.Vault.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The other tests of this package need it too.
	t.Cleanup(func() {
		if t.Failed() {
			_ = c.s.Vault.Unseal(t.Context())
		}
	})
	c.change(func(es *esv1.ExternalSecret) { es.Annotations = map[string]string{"force-sync": "1"} })
	c.failed("sealed")
	if err := c.s.Vault.Unseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, c.good)
	noLeak(t, c.s, c.canary, key(c.ns, "db"))
}

// TestRestartCostsNothing kills the controller, and sees that one that starts
// again finds everything done: no read at Vault, and the Secret untouched.
func TestRestartCostsNothing(t *testing.T) {
	c := newTenant(t)
	before := &corev1.Secret{}
	if err := c.s.Client.Get(t.Context(), key(c.ns, "db"), before); err != nil {
		t.Fatal(err)
	}
	c.s.Controller.Halt()
	if err := c.s.Vault.ResetCounts(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.s.Controller.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	// It is at work again when it makes something new.
	es := c.external()
	es.Name = "second"
	es.Spec.Data[0].RemoteRef.Key = c.ns + "/other"
	if _, err := c.s.Vault.Put(t.Context(), c.ns+"/other", map[string]any{"password": c.canary.Value()}); err != nil {
		t.Fatal(err)
	}
	if err := c.s.Ensure(t.Context(), es); err != nil {
		t.Fatal(err)
	}
	eventually(t, enough, func() string {
		return secretHolds(t, c.s, key(c.ns, "second"), map[string]string{"password": c.canary.Value()})
	})
	counts, err := c.s.Vault.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if counts["GET secret/data"] != 1 {
		t.Errorf("reads of Vault since the restart: got %v, want 1, for what is new", counts)
	}
	after := &corev1.Secret{}
	if err := c.s.Client.Get(t.Context(), key(c.ns, "db"), after); err != nil {
		t.Fatal(err)
	}
	if after.ResourceVersion != before.ResourceVersion {
		t.Errorf("resourceVersion of the Secret: got %s, want %s as before the restart", after.ResourceVersion, before.ResourceVersion)
	}
}
