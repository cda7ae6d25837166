package keys_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/reconciler/keys"
)

// A key that is as old as the renew period is followed by another.
func TestRenew(t *testing.T) {
	b := newBench(t)
	key, cert := newKey(t)
	b.keySecret("old", active(), key, cert)
	time.Sleep(1100 * time.Millisecond) // certificates count in seconds
	c, _ := b.runWith("", keys.Renewal{
		RenewPeriod: time.Second, CommonName: "cluster.example.com",
		Labels: map[string]string{"team": "platform"}, Annotations: map[string]string{"note": "x"},
	})
	eventually(t, "a second key", func() bool { return c.Ring.Len() >= 2 })
	newest, _ := c.Ring.Newest()
	if newest.Certificate.Subject.CommonName != "cluster.example.com" {
		t.Errorf("the certificate is of %q", newest.Certificate.Subject.CommonName)
	}
	for _, s := range b.secrets() {
		if s.Name != "old" && (s.Labels["team"] != "platform" || s.Labels[bitnamiv1alpha1.LabelSealingKey] != "active" || s.Annotations["note"] != "x") {
			t.Errorf("the new key Secret has labels %v and annotations %v", s.Labels, s.Annotations)
		}
	}
}

// What was made before the cut-off time is followed by another key, once.
func TestCutoff(t *testing.T) {
	b := newBench(t)
	key, cert := newKey(t)
	b.keySecret("old", active(), key, cert)
	time.Sleep(1100 * time.Millisecond) // certificates count in seconds
	c, _ := b.runWith("", keys.Renewal{Cutoff: time.Now()})
	eventually(t, "a second key", func() bool { return c.Ring.Len() == 2 })
	time.Sleep(300 * time.Millisecond)
	if n := c.Ring.Len(); n != 2 {
		t.Errorf("there are %d keys, want 2", n)
	}
}

// Of keys that are all retired none seals: another is made.
func TestAllRetired(t *testing.T) {
	b := newBench(t)
	key, cert := newKey(t)
	b.keySecret("old", map[string]string{bitnamiv1alpha1.LabelSealingKey: "compromised"}, key, cert)
	c, _ := b.run("")
	eventually(t, "a key that seals", func() bool { _, ok := c.Ring.Newest(); return ok && c.Ring.Len() == 2 })
}

// The order of the keys is that of the certificates, or of the Secrets.
func TestOrder(t *testing.T) {
	for order, want := range map[keys.Order]string{keys.ByCertificate: "second", keys.ByCreation: "first"} {
		t.Run(string(order), func(t *testing.T) {
			b := newBench(t)
			firstKey, firstCert := newKey(t)
			time.Sleep(1100 * time.Millisecond)
			secondKey, secondCert := newKey(t)
			pairs := map[string][2][]byte{"first": {firstKey, firstCert}, "second": {secondKey, secondCert}}
			b.keySecret("second", active(), secondKey, secondCert)
			time.Sleep(1100 * time.Millisecond)
			b.keySecret("first", active(), firstKey, firstCert)
			c, _ := b.runWith("", keys.Renewal{Order: order})
			eventually(t, "both keys", func() bool { return c.Ring.Len() == 2 })
			wanted, err := keys.Parse(&corev1.Secret{Data: map[string][]byte{"tls.key": pairs[want][0], "tls.crt": pairs[want][1]}})
			if err != nil {
				t.Fatal(err)
			}
			if newest, _ := c.Ring.Newest(); newest.Fingerprint != wanted.Fingerprint {
				t.Errorf("the newest is not %s", want)
			}
		})
	}
}

// A cluster with SealedSecrets and without any key was restored without them:
// a new key would not help, and is not made until someone asks for it.
func TestNoKeyForUnknown(t *testing.T) {
	b := newBench(t)
	ss := &bitnamiv1alpha1.SealedSecret{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "a"},
		Spec: bitnamiv1alpha1.SealedSecretSpec{EncryptedData: bitnamiv1alpha1.EncryptedData{"x": strings.Repeat("A", 400)}}}
	if err := b.Create(t.Context(), ss); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Delete(context.WithoutCancel(t.Context()), ss) })
	c, _ := b.run("")
	eventually(t, "the look at the keys", c.Ring.Loaded)
	time.Sleep(500 * time.Millisecond)
	if n := len(b.secrets()); n != 0 {
		t.Fatalf("%d keys were made", n)
	}
	eventually(t, "the Event about a", func() bool {
		var events corev1.EventList
		if err := b.List(t.Context(), &events, client.InNamespace(b.ns)); err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(events.Items, func(e corev1.Event) bool {
			return e.Reason == keys.ReasonNoKey && e.Type == corev1.EventTypeWarning && e.InvolvedObject.Name == "a" && strings.Contains(e.Message, "lockstep keys restore")
		})
	})
	key, cert := newKey(t)
	b.keySecret("restored", active(), key, cert)
	eventually(t, "the restored key", func() bool { return c.Ring.Len() == 1 })
}

func TestParsePairs(t *testing.T) {
	cases := map[string]struct {
		want map[string]string
		err  bool
	}{
		"":           {want: map[string]string{}},
		"a=b, c=d=e": {want: map[string]string{"a": "b", "c": "d=e"}},
		"a":          {err: true},
		"=b":         {err: true},
	}
	for text, tc := range cases {
		got, err := keys.ParsePairs(text)
		if (err != nil) != tc.err || err == nil && cmp.Diff(tc.want, got) != "" {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
	if _, err := keys.ParseOrder("Newest"); err == nil || !strings.Contains(err.Error(), "CertNotBefore") {
		t.Errorf("ParseOrder: got %v", err)
	}
}

// The metrics tell of each key its age, its expiry, and what needs it.
func TestMetrics(t *testing.T) {
	b := newBench(t)
	c, _ := b.run("")
	eventually(t, "a key", func() bool { return c.Ring.Len() == 1 })
	newest, _ := c.Ring.Newest()
	ss := &bitnamiv1alpha1.SealedSecret{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "a"},
		Spec: bitnamiv1alpha1.SealedSecretSpec{EncryptedData: bitnamiv1alpha1.EncryptedData{"x": "AgB", "y": "AgB"}}}
	if err := b.Create(t.Context(), ss); err != nil {
		t.Fatal(err)
	}
	ss.Status.Target = &bitnamiv1alpha1.TargetStatus{UID: "u", ResourceVersion: "1", Generation: 1, Scope: "strict", Key: newest.Fingerprint}
	if err := b.Status().Update(t.Context(), ss, &client.SubResourceUpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	metrics := c.Metrics(b.Client)
	got := map[string]float64{}
	out := make(chan prometheus.Metric, 100)
	metrics.Collect(out)
	close(out)
	for m := range out {
		var text dto.Metric
		if err := m.Write(&text); err != nil {
			t.Fatal(err)
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(m.Desc().String(), `Desc{fqName: "`), `"`)
		got[strings.TrimPrefix(name, "lockstep_sealing_key_")] = text.GetGauge().GetValue()
	}
	if got["objects"] != 1 || got["items"] != 2 || got["age_seconds"] < 0 || got["age_seconds"] > 60 || got["expiry_timestamp_seconds"] != float64(newest.Certificate.NotAfter.Unix()) {
		t.Errorf("got %v", got)
	}
}
