package sealedsecret_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/sealer"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// A first sync is two writes and no read of the Secret, and the value is in
// that Secret and nowhere else.
func TestFirstSync(t *testing.T) {
	b := newBench(t)
	b.run()
	canary := testenv.NewCanary(t)
	ss := b.sealed("db", b.strict("db"), b.key(), canary.Value())
	ss.Spec.Template.Labels = map[string]string{"app": "db"}
	ss.Spec.Template.Annotations = map[string]string{"note": "n"}
	ss.Spec.Template.Type = "example.com/own"
	ss.Spec.Template.Data = texts(map[string]string{"dsn": "postgres://db:{{ .password }}@db"})
	b.create(ss)
	got := b.synced("db", "True")
	settle()

	want := []string{"POST /namespaces/" + b.ns + "/secrets", "PATCH /namespaces/" + b.ns + "/sealedsecrets/db/status"}
	made := append(b.requests.about("/secrets"), b.requests.about("/sealedsecrets/db")...)
	made = withoutKeys(made, b.ns)
	if diff := cmp.Diff(want, made); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"POST /namespaces/" + b.ns + "/events"}, b.requests.events); diff != "" {
		t.Errorf("Events (-want +got):\n%s", diff)
	}
	if got := b.requests.types[want[0]]; got != "application/vnd.kubernetes.protobuf" {
		t.Errorf("the Secret is sent as %s", got)
	}
	s := b.secret("db")
	if diff := cmp.Diff(map[string]string{"app": "db"}, s.Labels); diff != "" {
		t.Errorf("labels are not the template's:\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"note": "n"}, s.Annotations); diff != "" {
		t.Errorf("annotations are not the template's:\n%s", diff)
	}
	if !metav1.IsControlledBy(s, ss) || s.Type != "example.com/own" {
		t.Errorf("the Secret has owners %v and type %q", s.OwnerReferences, s.Type)
	}
	if string(s.Data["password"]) != canary.Value() || string(s.Data["dsn"]) != "postgres://db:"+canary.Value()+"@db" {
		t.Error("the Secret does not hold what was sealed")
	}
	if target := got.Status.Target; target == nil || target.UID != s.UID || target.ResourceVersion != s.ResourceVersion || target.Key == "" {
		t.Errorf("status.target is %+v, and the Secret %s at %s", target, s.UID, s.ResourceVersion)
	}
	if c := got.Status.Conditions[0]; c.Message != "" || !c.LastUpdateTime.Equal(&c.LastTransitionTime) {
		t.Errorf("Synced is %+v", c)
	}
	if diff := cmp.Diff([]string{"Normal Unsealed x1"}, b.events("db")); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	canary.NotInCluster(t, b.cp, types.NamespacedName{Namespace: b.ns, Name: "db"})
	canary.NotInFiles(t, b.cp.Logs())
}

// withoutKeys leaves out the requests about the sealing key: the list at the
// start, the look for an unlabelled one, and the Secret that was made.
func withoutKeys(made []string, ns string) []string {
	var out []string
	posts := 0
	for _, m := range made {
		if m == "POST /namespaces/"+ns+"/secrets" {
			if posts++; posts == 1 {
				continue
			}
		}
		if m != "GET /namespaces/"+ns+"/secrets" && m != "GET /namespaces/"+ns+"/secrets/sealed-secrets-key" {
			out = append(out, m)
		}
	}
	return out
}

func TestScopes(t *testing.T) {
	b := newBench(t)
	b.run()
	b.key()
	for _, scope := range []sealer.Scope{sealer.Strict, sealer.NamespaceWide, sealer.ClusterWide} {
		name := scope.String()
		at := b.strict(name)
		at.Scope = scope
		b.create(b.sealed(name, at, b.key(), "value-of-"+name))
		b.holds(name, "value-of-"+name)
	}
}

// Every kind of edit of the Secret is put right within a second.
func TestDrift(t *testing.T) {
	b := newBench(t)
	b.run()
	ss := b.sealed("db", b.strict("db"), b.key(), "sealed")
	ss.Spec.Template.Labels = map[string]string{"app": "db"}
	b.create(ss)
	b.synced("db", "True")
	edits := map[string]func(*corev1.Secret){
		"Value":  func(s *corev1.Secret) { s.Data["password"] = []byte("edited") },
		"Item":   func(s *corev1.Secret) { s.Data["more"] = []byte("edited") },
		"Label":  func(s *corev1.Secret) { s.Labels = nil },
		"Owner":  func(s *corev1.Secret) { s.Annotations = map[string]string{"a": "b"} },
		"Delete": nil,
	}
	for name, edit := range edits {
		t.Run(name, func(t *testing.T) {
			s := b.secret("db")
			start := time.Now()
			var err error
			if edit == nil {
				err = b.Delete(t.Context(), s)
			} else {
				edit(s)
				err = b.Update(t.Context(), s)
			}
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "the edit to be put right", func() (bool, string) {
				s := &corev1.Secret{}
				err := b.Get(t.Context(), client.ObjectKey{Namespace: b.ns, Name: "db"}, s)
				return err == nil && string(s.Data["password"]) == "sealed" && len(s.Data) == 1 &&
					s.Labels["app"] == "db" && s.Annotations == nil && metav1.IsControlledBy(s, ss), ""
			})
			if took := time.Since(start); took > time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
	settle()
	if c := b.synced("db", "True"); c.Status.Target.ResourceVersion != b.secret("db").ResourceVersion {
		t.Error("the status does not know the Secret as it is now")
	}
	if diff := cmp.Diff([]string{"Normal Unsealed x1"}, b.events("db")); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// After a restart with everything as it was, nothing is opened or written.
func TestRestart(t *testing.T) {
	b := newBench(t)
	stop := b.run()
	names := []string{"a", "b", "c"}
	for _, name := range names {
		b.create(b.sealed(name, b.strict(name), b.key(), "v"))
	}
	for _, name := range names {
		b.synced(name, "True")
	}
	settle()
	stop()

	b.run()
	b.key()
	settle()
	for _, m := range append(b.requests.about("/secrets"), b.requests.about("/sealedsecrets")...) {
		if !strings.HasPrefix(m, "GET ") || strings.Contains(m, "/secrets/") && !strings.HasSuffix(m, "/sealed-secrets-key") {
			t.Errorf("after the restart: %s", m)
		}
	}

	// What changed while nobody looked is put right.
	b2 := b.secret("a")
	b2.Data["password"] = []byte("edited")
	if err := b.Update(t.Context(), b2); err != nil {
		t.Fatal(err)
	}
	b.holds("a", "v")
}

// A sealing key that is added opens what failed without it, and one that is
// malformed harms nothing.
func TestNewKeyWakes(t *testing.T) {
	b := newBench(t)
	b.run()
	b.key()
	private, cert, err := sealer.NewCertificate(2048, time.Hour, "")
	if err != nil {
		t.Fatal(err)
	}
	b.create(b.sealed("db", b.strict("db"), &private.PublicKey, "v"))
	b.synced("db", "False")
	label := map[string]string{bitnamiv1alpha1.LabelSealingKey: bitnamiv1alpha1.LabelSealingKeyActive}
	b.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "malformed", Labels: label},
		Type:       corev1.SecretTypeOpaque,
		Data:       map[string][]byte{"tls.key": []byte("no key")},
	})
	b.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "restored", Labels: label},
		Type:       corev1.SecretTypeTLS,
		Data:       map[string][]byte{"tls.key": sealer.EncodePrivateKey(private), "tls.crt": sealer.EncodeCertificate(cert)},
	})
	b.holds("db", "v")
	b.synced("db", "True")
}

// The owner is not set where the template says so, and the Secret is then the
// user's to delete.
func TestSkipOwner(t *testing.T) {
	b := newBench(t)
	b.run()
	ss := b.sealed("db", b.strict("db"), b.key(), "one")
	ss.Spec.Template.Annotations = map[string]string{bitnamiv1alpha1.AnnotationSkipSetOwnerReferences: "true"}
	b.create(ss)
	b.synced("db", "True")
	s := b.secret("db")
	if len(s.OwnerReferences) != 0 {
		t.Errorf("owners are %v", s.OwnerReferences)
	}
	next := b.synced("db", "True")
	next.Spec.EncryptedData = b.sealed("db", b.strict("db"), b.key(), "two").Spec.EncryptedData
	if err := b.Update(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	b.holds("db", "two")
	b.synced("db", "True")
	if err := b.Delete(t.Context(), b.secret("db")); err != nil {
		t.Fatal(err)
	}
	settle()
	if err := b.Get(t.Context(), client.ObjectKey{Namespace: b.ns, Name: "db"}, &corev1.Secret{}); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("a Secret that is not owned came back after someone deleted it: %v", err)
	}
}

// Only the scope annotation changes: no generation counts it.
func TestScopeAnnotationChanges(t *testing.T) {
	b := newBench(t)
	b.run()
	ss := b.sealed("db", sealer.Binding{Scope: sealer.ClusterWide}, b.key(), "v")
	ss.Annotations = nil
	b.create(ss)
	got := b.synced("db", "False")
	got.Annotations = map[string]string{bitnamiv1alpha1.AnnotationClusterWide: "true"}
	if err := b.Update(t.Context(), got); err != nil {
		t.Fatal(err)
	}
	b.synced("db", "True")
	b.holds("db", "v")
}

// With scope, name and value as they were, a SealedSecret that is sealed again
// with another certificate is opened again, and the Secret stays as it is.
func TestSealedAgain(t *testing.T) {
	b := newBench(t)
	b.run()
	b.create(b.sealed("db", b.strict("db"), b.key(), "v"))
	next := b.synced("db", "True")
	before := b.secret("db")
	next.Spec.EncryptedData = b.sealed("db", b.strict("db"), b.key(), "v").Spec.EncryptedData
	if err := b.Update(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	got := b.synced("db", "True")
	if after := b.secret("db"); after.ResourceVersion != before.ResourceVersion {
		t.Error("the Secret was written, though its values did not change")
	}
	if got.Status.Target.Generation != got.Generation {
		t.Errorf("status.target is of generation %d, want %d", got.Status.Target.Generation, got.Generation)
	}
}
