package sealedsecret_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// A Secret of someone else that is deleted leaves its place free for a moment,
// in which they may make it anew; then the SealedSecret takes it. As in Sealed
// Secrets, one that was handed over comes back at once.
func TestSecretOfOthersIsDeleted(t *testing.T) {
	b := newBench(t)
	b.run()
	b.key()
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "db"}}
	b.create(foreign)
	b.create(b.sealed("db", b.strict("db"), b.key(), "v"))
	b.synced("db", "False")
	if err := b.Delete(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	gone := time.Now()
	for time.Since(gone) < 300*time.Millisecond {
		if err := b.Get(t.Context(), client.ObjectKeyFromObject(foreign), &corev1.Secret{}); !apierrors.IsNotFound(err) {
			t.Fatalf("%s after it was deleted: %v", time.Since(gone), err)
		}
	}
	b.holds("db", "v")
	b.synced("db", "True")
}

// Whoever deletes a Secret to make it anew finds its place free, and keeps it.
func TestSecretOfOthersIsReplaced(t *testing.T) {
	b := newBench(t)
	b.run()
	b.key()
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "db"}, StringData: map[string]string{"mine": "1"}}
	b.create(foreign)
	b.create(b.sealed("db", b.strict("db"), b.key(), "v"))
	b.synced("db", "False")
	if err := b.Delete(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	b.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "db"}, StringData: map[string]string{"mine": "2"}})
	settle()
	if s := b.secret("db"); string(s.Data["mine"]) != "2" {
		t.Errorf("the Secret that was made anew has the items %d, and not its own", len(s.Data))
	}
	b.synced("db", "False")
}
