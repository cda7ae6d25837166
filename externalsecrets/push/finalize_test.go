package push_test

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	esv1alpha1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1alpha1"
	"github.com/lockstep-dev/lockstep/providers"
)

// pushed is a PushSecret that has to delete what it pushed.
func (b *bench) pushed() *esv1alpha1.PushSecret {
	b.t.Helper()
	b.apply("metadata: {name: db}\nstringData: {a: '1'}", &corev1.Secret{})
	b.apply("metadata: {name: app}\nspec: {deletionPolicy: Delete, secretStoreRefs: [{name: store}], selector: {secret: {name: db}}, data: [{match: {secretKey: a, remoteRef: {remoteKey: a}}}]}", &esv1alpha1.PushSecret{})
	b.holds(`{"a":"1"}`)
	return b.ready("app", "True/Synced")
}

func (b *bench) goes(o client.Object) {
	b.t.Helper()
	b.eventually("the PushSecret to go", func() string {
		if err := b.Get(b.t.Context(), client.ObjectKeyFromObject(o), o); !apierrors.IsNotFound(err) {
			return fmt.Sprint(err)
		}
		return ""
	})
}

// TestFinalizer is only there as long as a deletion has something to do.
func TestFinalizer(t *testing.T) {
	b := start(t)
	ps := b.pushed()
	b.apply("metadata: {name: keeps}\nspec: {secretStoreRefs: [{name: store}], selector: {secret: {name: db}}, data: [{match: {secretKey: a, remoteRef: {remoteKey: b}}}]}", &esv1alpha1.PushSecret{})
	if got := b.ready("keeps", "True/Synced").Finalizers; len(got) != 0 {
		t.Errorf("finalizers without deletionPolicy Delete: %v", got)
	}
	has := func(want string) {
		t.Helper()
		b.eventually("the finalizers to be "+want, func() string {
			if err := b.Get(t.Context(), client.ObjectKeyFromObject(ps), ps); err != nil || fmt.Sprint(ps.Finalizers) != want {
				return fmt.Sprint(err, ps.Finalizers)
			}
			return ""
		})
	}
	has("[" + esv1alpha1.Finalizer + "]")
	b.change(&esv1alpha1.PushSecret{}, "app", `{"spec":{"deletionPolicy":"None"}}`)
	has("[]")
	namespace, store := &corev1.Namespace{}, &esv1.SecretStore{}
	must(t, b.Get(t.Context(), client.ObjectKey{Name: b.ns}, namespace))
	must(t, b.Get(t.Context(), client.ObjectKey{Namespace: b.ns, Name: "store"}, store))
	if got := slices.Concat(namespace.Finalizers, store.Finalizers); len(got) != 0 {
		t.Errorf("finalizers of the namespace and the store: %v, want none", got)
	}
}

// TestStoreGoesFirst wants to be told why a PushSecret stays, and how to let
// it go.
func TestStoreGoesFirst(t *testing.T) {
	b := start(t)
	ps := b.pushed()
	must(t, b.Delete(t.Context(), &esv1.SecretStore{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "store"}}))
	b.ready("app", `SecretStore "store" does not exist`)
	must(t, b.Delete(t.Context(), ps))
	b.ready("app", "set spec.deletionPolicy to None")
	b.change(&esv1alpha1.PushSecret{}, "app", `{"spec":{"deletionPolicy":"None"}}`)
	b.goes(ps)
	b.holds(`{"a":"1"}`)
}

// TestNamespaceEnds deletes a namespace, in which things go in any order.
func TestNamespaceEnds(t *testing.T) {
	b := start(t)
	ps := b.pushed()
	must(t, b.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: b.ns}}))
	must(t, b.Delete(t.Context(), &esv1.SecretStore{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "store"}}))
	must(t, b.Delete(t.Context(), ps))
	b.goes(ps)
}

// TestInterval changes what is in the store, behind the controller's back: it
// is put right where an interval says how soon.
func TestInterval(t *testing.T) {
	b := start(t)
	b.apply("metadata: {name: db}\nstringData: {a: '1'}", &corev1.Secret{})
	for name, interval := range map[string]string{"often": "1s", "never": "0s"} {
		b.apply("metadata: {name: "+name+"}\nspec: {refreshInterval: "+interval+", secretStoreRefs: [{name: store}], selector: {secret: {name: db}}, data: [{match: {secretKey: a, remoteRef: {remoteKey: "+name+"}}}]}", &esv1alpha1.PushSecret{})
	}
	b.holds(`{"never":"1","often":"1"}`)
	b.ready("often", "True/Synced")
	b.ready("never", "True/Synced")
	for _, name := range []string{"never", "often"} {
		must(t, b.vault.Write(t.Context(), providers.Target{Path: name}, providers.NewValue([]byte("other")), nil))
	}
	b.holds(`{"never":"other","often":"1"}`)
}
