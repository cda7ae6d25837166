package keys_test

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/lockstep-dev/lockstep/reconciler/keys"
	"github.com/lockstep-dev/lockstep/sealer"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// malformed returns the metric of a Secret in the namespace: whether it is
// there, and what it says.
func (b *bench) malformed(name string) (value float64, there bool) {
	b.t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "lockstep_sealing_key_malformed" {
			continue
		}
		for _, m := range f.GetMetric() {
			of := map[string]string{}
			for _, l := range m.GetLabel() {
				of[l.GetName()] = l.GetValue()
			}
			if of["namespace"] == b.ns && of["name"] == name {
				return m.GetGauge().GetValue(), true
			}
		}
	}
	return 0, false
}

// A key Secret that holds no key is told by a metric and an Event, neither of
// which holds anything of it, until it is mended, relabelled or gone. The other
// keys work on meanwhile.
func TestMalformedIsTold(t *testing.T) {
	b := newBench(t)
	canary := testenv.NewCanary(t)
	key, cert := newKey(t)
	b.keySecret("good", active(), key, cert)
	other, otherCert := newKey(t)
	cases := map[string]struct{ key, cert []byte }{
		"no-pem":        {[]byte(canary.Value()), []byte(canary.Value())},
		"no-cert":       {key, nil},
		"no-key":        {nil, cert},
		"swapped":       {cert, key},
		"truncated":     {key[:len(key)/2], cert},
		"other-keypair": {other, cert},
	}
	for name, data := range cases {
		b.keySecret(name, active(), data.key, data.cert)
	}
	c, _ := b.run("")
	for name := range cases {
		eventually(t, "the metric of "+name, func() bool { value, _ := b.malformed(name); return value == 1 })
		eventually(t, "the Event about "+name, func() bool { return b.toldMalformed(name, canary.Value()) })
	}
	if _, there := b.malformed("good"); there || c.Ring.Len() != 1 {
		t.Errorf("there are %d keys, want the good one", c.Ring.Len())
	}

	for name := range cases {
		secret := &corev1.Secret{}
		if err := b.Get(t.Context(), client.ObjectKey{Namespace: b.ns, Name: name}, secret); err != nil {
			t.Fatal(err)
		}
		switch name {
		case "no-cert":
			b.label(secret, "other")
		case "other-keypair":
			secret.Data = map[string][]byte{"tls.key": other, "tls.crt": otherCert}
			if err := b.Update(t.Context(), secret); err != nil {
				t.Fatal(err)
			}
		default:
			if err := b.Delete(t.Context(), secret); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "the metric of "+name+" to go", func() bool { _, there := b.malformed(name); return !there })
	}
	eventually(t, "the mended key", func() bool { return c.Ring.Len() == 2 })

	// What becomes malformed opens nothing from then on.
	good := &corev1.Secret{}
	if err := b.Get(t.Context(), client.ObjectKey{Namespace: b.ns, Name: "good"}, good); err != nil {
		t.Fatal(err)
	}
	good.Data = map[string][]byte{"tls.key": key[:100], "tls.crt": cert}
	if err := b.Update(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the key that was spoilt to be left out", func() bool {
		value, _ := b.malformed("good")
		return value == 1 && !slices.ContainsFunc(c.Ring.Keys(), func(k sealer.Key) bool { return k.Fingerprint == fingerprint(t, cert) })
	})
}

// toldMalformed says whether there is an Event about a Secret, without secret.
func (b *bench) toldMalformed(name, secret string) bool {
	b.t.Helper()
	var events corev1.EventList
	if err := b.List(b.t.Context(), &events, client.InNamespace(b.ns)); err != nil {
		b.t.Fatal(err)
	}
	return slices.ContainsFunc(events.Items, func(e corev1.Event) bool {
		if strings.Contains(e.Message, secret) {
			b.t.Errorf("the Event about %s holds the value", name)
		}
		return e.Reason == keys.ReasonMalformed && e.Type == corev1.EventTypeWarning && e.InvolvedObject.Name == name
	})
}
