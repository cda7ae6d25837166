package kustomization_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/reconciler/apply"
)

// tap sees each request that is made for an object before it goes out.
type tap struct {
	see  func(*http.Request)
	next http.RoundTripper
}

func (t tap) RoundTrip(r *http.Request) (*http.Response, error) {
	t.see(r)
	return t.next.RoundTrip(r)
}

// tapped has see called with every request for an object to apply or delete.
func tapped(see func(*bench, *http.Request)) func(*bench) {
	return func(b *bench) {
		config := rest.CopyConfig(b.ctrl.Clients.Config)
		config.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return tap{func(r *http.Request) { see(b, r) }, next}
		})
		b.ctrl.Clients = &apply.Clients{Config: config, Mapper: b.ctrl.Clients.Mapper}
	}
}

// TestInventoryBeforeObjects reads the status at each apply: whoever is cut
// off there has left nothing that the inventory does not have.
func TestInventoryBeforeObjects(t *testing.T) {
	var seen, missing atomic.Int32
	b := start(t, tapped(func(b *bench, r *http.Request) {
		if r.Method != http.MethodPatch || !strings.Contains(r.URL.Path, "/configmaps/") {
			return
		}
		seen.Add(1)
		var ks kustomizev1.Kustomization
		id := b.ns + "_" + path.Base(r.URL.Path) + "__ConfigMap"
		err := b.Get(b.t.Context(), client.ObjectKey{Namespace: b.ns, Name: "app"}, &ks)
		if err != nil || ks.Status.Inventory == nil || !slices.ContainsFunc(ks.Status.Inventory.Entries, func(e kustomizev1.ResourceRef) bool { return e.ID == id }) {
			missing.Add(1)
		}
	}))
	b.push("main@sha1:1", map[string]string{"a.yaml": configMap("a", "one"), "b.yaml": configMap("b", "one")})
	b.create("app", nil)
	b.ready("app", "True")
	b.push("main@sha1:2", map[string]string{"b.yaml": configMap("b", "two"), "c.yaml": configMap("c", "one")})
	b.ready("app", "True/ReconciliationSucceeded/Applied revision: main@sha1:2")
	if seen.Load() != 4 || missing.Load() != 0 {
		t.Errorf("%d objects were applied, want 4; %d of them before they were in the inventory, want 0", seen.Load(), missing.Load())
	}
}

// TestDeletesTheVeryObject replaces an object of ours by one of somebody else
// between our look at it and our delete: the UID keeps the other alive.
func TestDeletesTheVeryObject(t *testing.T) {
	var uid atomic.Value
	var deletes atomic.Int32
	b := start(t, tapped(func(b *bench, r *http.Request) {
		if r.Method != http.MethodDelete || path.Base(r.URL.Path) != "a" || deletes.Add(1) > 1 {
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			b.t.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		var options metav1.DeleteOptions
		if err := json.Unmarshal(body, &options); err != nil {
			b.t.Errorf("options of the delete: %v", err)
			return
		}
		if options.Preconditions == nil || options.Preconditions.UID == nil || string(*options.Preconditions.UID) != uid.Load() {
			b.t.Errorf("preconditions: got %v, want the UID %v", options.Preconditions, uid.Load())
		}
		if p := options.PropagationPolicy; p == nil || *p != metav1.DeletePropagationBackground {
			b.t.Errorf("propagation: got %v, want Background", p)
		}
		if err := b.Delete(b.t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "a"}}); err != nil {
			b.t.Error(err)
		}
		createConfigMap("a", "somebody", "theirs")(b)
	}))
	b.push("main@sha1:1", map[string]string{"a.yaml": configMap("a", "one"), "b.yaml": configMap("b", "one")})
	b.create("app", func(s *kustomizev1.KustomizationSpec) { retryFast(s) })
	b.ready("app", "True")
	cm, err := b.configMap("a")
	if err != nil {
		t.Fatal(err)
	}
	uid.Store(string(cm.UID))
	b.push("main@sha1:2", map[string]string{"b.yaml": configMap("b", "one")})
	b.ready("app", "True/ReconciliationSucceeded/Applied revision: main@sha1:2")
	if deletes.Load() == 0 {
		t.Error("nothing was deleted")
	}
	time.Sleep(700 * time.Millisecond) // a run more, see retryFast
	if cm, err := b.configMap("a"); err != nil || cm.Data["key"] != "theirs" || cm.UID == "" || string(cm.UID) == uid.Load() {
		t.Errorf("the object of somebody else: %v, %v, want it to be there", cm, err)
	}
}
