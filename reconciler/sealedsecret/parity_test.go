package sealedsecret_test

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/reconciler/sealedsecret"
	"github.com/lockstep-dev/lockstep/sealer"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// Keys of every size and origin open: labelled or the unlabelled one of the
// first releases, PKCS #1 or PKCS #8, with a certificate that has expired.
func TestKeysOfAllKinds(t *testing.T) {
	b := newBench(t)
	label := map[string]string{bitnamiv1alpha1.LabelSealingKey: bitnamiv1alpha1.LabelSealingKeyActive}
	kinds := map[string]struct {
		bits   int
		valid  time.Duration
		labels map[string]string
		encode func(*rsa.PrivateKey) []byte
	}{
		"sealed-secrets-key": {2048, time.Hour, nil, sealer.EncodePrivateKey},
		"expired":            {2048, time.Nanosecond, label, sealer.EncodePrivateKey},
		"pkcs8":              {2048, time.Hour, label, pkcs8},
		"large":              {3072, time.Hour, label, sealer.EncodePrivateKey},
		"larger":             {4096, time.Hour, label, sealer.EncodePrivateKey},
	}
	publics := map[string]*rsa.PublicKey{}
	for name, kind := range kinds {
		private, cert, err := sealer.NewCertificate(kind.bits, kind.valid, "")
		if err != nil {
			t.Fatal(err)
		}
		publics[name] = &private.PublicKey
		b.create(&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: name, Labels: kind.labels},
			Type:       corev1.SecretTypeTLS,
			Data:       map[string][]byte{"tls.key": kind.encode(private), "tls.crt": sealer.EncodeCertificate(cert)},
		})
	}
	b.run()
	for name, public := range publics {
		name = "from-" + name
		b.create(b.sealed(name, b.strict(name), public, "value "+name))
		b.holds(name, "value "+name)
		b.synced(name, "True")
	}
}

func pkcs8(key *rsa.PrivateKey) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// The form before Sealed Secrets v0.8 opens where the flag lets it, and what
// it says of itself but labels and annotations does not count.
func TestDeprecatedData(t *testing.T) {
	b := newBench(t)
	b.settings = func(c *sealedsecret.Controller) { c.AcceptDeprecatedData = true }
	b.run()
	whole := &corev1.Secret{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{
			Name: "other", Namespace: "other", Labels: map[string]string{"app": "db"}, Finalizers: []string{"example.com/f"},
		},
		Type: corev1.SecretTypeBasicAuth,
		Data: map[string][]byte{"username": []byte("u"), "password": []byte("v")},
	}
	text, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := sealer.Seal(b.key(), text, b.strict("db").Label())
	if err != nil {
		t.Fatal(err)
	}
	ss := b.sealed("db", b.strict("db"), b.key(), "x")
	ss.Spec.EncryptedData, ss.Spec.Data = bitnamiv1alpha1.EncryptedData{}, sealed
	b.create(ss)
	b.holds("db", "v")
	s := b.secret("db")
	if s.Type != corev1.SecretTypeBasicAuth || s.Labels["app"] != "db" || len(s.Finalizers) != 0 || !metav1.IsControlledBy(s, ss) {
		t.Errorf("Secret is %s, %v, %v, %v", s.Type, s.Labels, s.Finalizers, s.OwnerReferences)
	}
	both := b.sealed("both", b.strict("both"), b.key(), "x")
	both.Spec.Data = sealed
	b.create(both)
	if c := b.synced("both", "False").Status.Conditions[0]; !strings.Contains(c.Message, "at the same time") {
		t.Errorf("both forms at once: %s", c.Message)
	}
}

// What older kubeseals write, and what templates of Sealed Secrets v0.40 can
// say, passes the API server and comes out as there.
func TestTemplateForms(t *testing.T) {
	b := newBench(t)
	b.run()
	cases := map[string]struct {
		template any
		want     map[string]string
	}{
		"nulls":   {map[string]any{"data": nil, "metadata": nil}, map[string]string{"password": "v"}},
		"removed": {map[string]any{"data": map[string]any{"password": nil, "url": "db://{{ .password }}"}}, map[string]string{"url": "db://v"}},
		"novalue": {map[string]any{"data": map[string]any{"a": "[{{ .none }}]"}}, map[string]string{"password": "v", "a": "[<no value>]"}},
		"sibling": {map[string]any{"data": map[string]any{"host": "h", "a": "{{ .host }}"}}, map[string]string{"password": "v", "host": "h", "a": "h"}},
		"sealed":  {map[string]any{"data": map[string]any{"password": "rendered"}}, map[string]string{"password": "v"}},
		"time":    {map[string]any{"metadata": map[string]any{"creationTimestamp": nil, "labels": nil}}, map[string]string{"password": "v"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			ss := b.sealed(name, sealer.Binding{Scope: sealer.ClusterWide}, b.key(), "v")
			o := &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret",
				"metadata": map[string]any{"name": name, "namespace": b.ns, "annotations": map[string]any{bitnamiv1alpha1.AnnotationClusterWide: "true"}},
				"spec":     map[string]any{"encryptedData": map[string]any{"password": ss.Spec.EncryptedData["password"]}, "template": tc.template},
			}}
			b.create(o)
			b.synced(name, "True")
			got := map[string]string{}
			for item, value := range b.secret(name).Data {
				got[item] = string(value)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("Secret (-want +got):\n%s", diff)
			}
		})
	}
}

// Only what the selector picks is served.
func TestSelector(t *testing.T) {
	b := newBench(t)
	b.settings = func(c *sealedsecret.Controller) { c.Selector = labels.SelectorFromSet(labels.Set{"team": "a"}) }
	b.run()
	other := b.sealed("other", b.strict("other"), b.key(), "v")
	picked := b.sealed("picked", b.strict("picked"), b.key(), "v")
	picked.Labels = map[string]string{"team": "a"}
	b.create(other)
	b.create(picked)
	b.synced("picked", "True")
	settle()
	if err := b.Get(t.Context(), client.ObjectKeyFromObject(other), &corev1.Secret{}); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("what the selector does not pick was opened: %v", err)
	}
	other.Labels = map[string]string{"team": "a"}
	if err := b.Update(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	b.synced("other", "True")
}

// What the platform's owner allows is made.
func TestPrivilegedAllowed(t *testing.T) {
	b := newBench(t)
	b.settings = func(c *sealedsecret.Controller) { c.AllowPrivileged = true }
	b.run()
	ss := b.sealed("db", b.strict("db"), b.key(), "v")
	ss.Spec.Template.Type = corev1.SecretTypeBootstrapToken
	b.create(ss)
	b.synced("db", "True")
}

// Reasons of events and names of metrics are those of Sealed Secrets.
func TestEventsAndMetrics(t *testing.T) {
	b := newBench(t)
	b.run()
	b.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "taken"}})
	b.create(b.sealed("taken", b.strict("taken"), b.key(), "v"))
	b.create(b.sealed("moved", b.strict("elsewhere"), b.key(), "v"))
	b.create(b.sealed("good", b.strict("good"), b.key(), "v"))
	for name, want := range map[string]struct{ synced, event string }{
		"taken": {"False", "Warning ErrUpdateFailed x1"}, "moved": {"False", "Warning ErrUnsealFailed x1"}, "good": {"True", "Normal Unsealed x1"},
	} {
		ss := b.synced(name, want.synced)
		if ss.Status.Conditions[0].Type != "Synced" || ss.Status.Conditions[1].Type != "Ready" {
			t.Errorf("%s: conditions are %v", name, ss.Status.Conditions)
		}
		eventually(t, "the event about "+name, func() (bool, string) {
			events := b.events(name)
			return len(events) == 1 && events[0] == want.event, strings.Join(events, ", ")
		})
	}
	got := map[string]float64{}
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var parts []string
			mine := false
			for _, l := range m.GetLabel() {
				parts = append(parts, l.GetValue())
				mine = mine || l.GetValue() == b.ns
			}
			if mine && strings.HasPrefix(family.GetName(), "sealed_secrets_controller_") {
				got[strings.TrimPrefix(family.GetName(), "sealed_secrets_controller_")+" "+strings.ReplaceAll(strings.Join(parts, " "), b.ns, "NS")] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	for name, want := range map[string]float64{
		"unseal_errors_total NS unmanaged": 1, "unseal_errors_total NS unseal": 1,
		"condition_info Synced good NS ": 1, "condition_info Synced moved NS ": -1, "condition_info Ready taken NS ": -1,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v; there are %v", name, got[name], want, got)
		}
	}
}

// A value of the wrong type, objects of 2 MiB and 10,000 items are refused or
// served, and harm nothing.
func TestBadShapes(t *testing.T) {
	b := newBench(t)
	b.run()
	b.key()
	canary := testenv.NewCanary(t)
	object := func(name string, spec map[string]any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret",
			"metadata": map[string]any{"name": name, "namespace": b.ns}, "spec": spec,
		}}
	}
	many := map[string]any{}
	for i := range 10000 {
		many["item"+strings.Repeat("x", 3)+string(rune('a'+i%26))+time.Duration(i).String()] = "AQ=="
	}
	for name, spec := range map[string]map[string]any{
		"number": {"encryptedData": map[string]any{"a": int64(1)}}, "list": {"encryptedData": []any{"a"}}, "absent": {},
		"template": {"encryptedData": map[string]any{}, "template": "text"}, "labels": {"encryptedData": map[string]any{}, "template": map[string]any{"metadata": map[string]any{"labels": map[string]any{"a": int64(1)}}}},
		"large": {"encryptedData": map[string]any{"a": strings.Repeat("A", 2<<20)}}, "many": {"encryptedData": many},
	} {
		o := object(name, spec)
		if err := b.Create(t.Context(), o); err != nil {
			continue // the API server refuses it
		}
		c := b.synced(name, "False").Status.Conditions[0]
		if name == "many" && (!strings.Contains(c.Message, "and 9950 more") || len(c.Message) > 4000) {
			t.Errorf("of 10,000 items the message says %s", c.Message)
		}
	}
	b.create(b.sealed("good", b.strict("good"), b.key(), canary.Value()))
	b.synced("good", "True")
}
