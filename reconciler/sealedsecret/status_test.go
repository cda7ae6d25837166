package sealedsecret_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/reconciler/keys"
	"github.com/lockstep-dev/lockstep/sealer"
)

// kstatus, by which Flux and kubectl wait, reads the conditions as they are
// meant, and Synced, which the printer column takes by its place, comes first.
func TestKstatus(t *testing.T) {
	b := newBench(t)
	b.run()
	for name, tc := range map[string]struct {
		sealedFor, synced string
		want              status.Status
	}{
		"good": {"good", "True", status.CurrentStatus}, "bad": {"other", "False", status.FailedStatus},
	} {
		ss := b.sealed(name, b.strict(tc.sealedFor), b.key(), "v")
		b.create(ss)
		got := b.synced(name, tc.synced)
		if c := got.Status.Conditions; len(c) < 2 || c[0].Type != bitnamiv1alpha1.Synced || c[1].Type != "Ready" {
			t.Errorf("%s: conditions are %+v", name, c)
		}
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(bitnamiv1alpha1.GroupVersion.WithKind(bitnamiv1alpha1.SealedSecretKind))
		if err := b.Get(t.Context(), client.ObjectKeyFromObject(ss), u); err != nil {
			t.Fatal(err)
		}
		if result, err := status.Compute(u); err != nil || result.Status != tc.want {
			t.Errorf("%s: kstatus says %+v, %v, want %s", name, result, err, tc.want)
		}
	}
}

// kubectl get shows the columns that it shows with Sealed Secrets.
func TestPrinterColumns(t *testing.T) {
	b := newBench(t)
	b.run()
	b.create(b.sealed("db", b.strict("db"), b.key(), "v"))
	b.synced("db", "True")
	text, err := b.cp.Client.CoreV1().RESTClient().Get().AbsPath("/apis/bitnami.com/v1alpha1/namespaces/"+b.ns+"/sealedsecrets").
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var table metav1.Table
	if err := json.Unmarshal(text, &table); err != nil {
		t.Fatal(err)
	}
	var columns []string
	for _, c := range table.ColumnDefinitions {
		columns = append(columns, c.Name)
	}
	if diff := cmp.Diff([]string{"Name", "Status", "Synced", "Age"}, columns); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
	if cells := fmt.Sprint(table.Rows[0].Cells[:3]); cells != "[db <nil> True]" {
		t.Errorf("the row is %s", cells)
	}
}

// With many keys, what an old one sealed takes one try of each at first sight,
// and one RSA operation per item ever after: the status remembers the key.
func TestKeyIsRemembered(t *testing.T) {
	b := newBench(t)
	const more = 6
	b.run()
	old := b.key()
	time.Sleep(1100 * time.Millisecond) // certificates count in seconds
	for range more {
		secret, err := keys.NewSecret(keys.Template{Namespace: b.ns, Prefix: "sealed-secrets-key", Size: 2048, TTL: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		b.create(secret)
	}
	eventually(t, "all keys", func() (bool, string) { return b.ring.Len() == 1+more, fmt.Sprint(b.ring.Len()) })
	settle() // they are given keys of envelope 2
	before := b.ring.Operations()
	b.create(b.sealed("db", b.strict("db"), old, "v"))
	ss := b.synced("db", "True")
	if got := b.ring.Operations() - before; got != 1+more {
		t.Errorf("at first sight %d RSA operations, want %d", got, 1+more)
	}
	before = b.ring.Operations()
	for _, item := range []string{"b", "c", "d"} {
		ss.Spec.EncryptedData[item] = b.sealed("db", b.strict("db"), old, item).Spec.EncryptedData["password"]
	}
	if err := b.Update(t.Context(), ss); err != nil {
		t.Fatal(err)
	}
	b.synced("db", "True")
	if got := b.ring.Operations() - before; got != 4 {
		t.Errorf("%d RSA operations for 4 items", got)
	}
}

// In a cluster that was restored without its keys, each SealedSecret says what
// is missing, in a condition and an Event, and comes to life with the key.
func TestNoKeyAtAll(t *testing.T) {
	b := newBench(t)
	private, cert, err := sealer.NewCertificate(2048, time.Hour, "")
	if err != nil {
		t.Fatal(err)
	}
	b.create(b.sealed("db", b.strict("db"), &private.PublicKey, "v"))
	b.run()
	message := b.synced("db", "False").Status.Conditions[0].Message
	if !strings.Contains(message, "restore the keys of the cluster") {
		t.Errorf("the message is %q", message)
	}
	eventually(t, "the Event", func() (bool, string) {
		events := b.events("db")
		return len(events) == 1 && events[0] == "Warning ErrUnsealFailed x1", fmt.Sprint(events)
	})
	if b.ring.Len() != 0 {
		t.Fatal("a key was made")
	}
	b.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "restored", Labels: map[string]string{bitnamiv1alpha1.LabelSealingKey: bitnamiv1alpha1.LabelSealingKeyActive}},
		Type:       corev1.SecretTypeTLS,
		Data:       map[string][]byte{"tls.key": sealer.EncodePrivateKey(private), "tls.crt": sealer.EncodeCertificate(cert)},
	})
	b.holds("db", "v")
}
