package kustomization_test

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/reconciler/source"
)

// refusing answers deletes of ConfigMaps itself for as long as it is on.
type refusing struct {
	on   *atomic.Bool
	next http.RoundTripper
}

func (f refusing) RoundTrip(r *http.Request) (*http.Response, error) {
	if f.on.Load() && r.Method == http.MethodDelete && strings.Contains(r.URL.Path, "/configmaps/") {
		return nil, errors.New("the delete is refused")
	}
	return f.next.RoundTrip(r)
}

func (b *bench) inventory(ks *kustomizev1.Kustomization) string {
	ids := make([]string, 0, 2)
	for _, e := range ks.Status.Inventory.Entries {
		ids = append(ids, strings.TrimPrefix(e.ID, b.ns))
	}
	return strings.Join(ids, " ")
}

// TestPruneFailedInventoryRetry has a delete fail: what was not deleted stays
// in the inventory, and is deleted when it can be.
func TestPruneFailedInventoryRetry(t *testing.T) {
	on := &atomic.Bool{}
	b := start(t, func(b *bench) {
		b.ctrl.Clients.Config.Wrap(func(next http.RoundTripper) http.RoundTripper { return refusing{on, next} })
	})
	b.push("main@sha1:1", map[string]string{"a.yaml": configMap("a", "one"), "b.yaml": configMap("b", "one")})
	b.create("app", nil)
	b.ready("app", "True")

	on.Store(true)
	t.Cleanup(func() { on.Store(false) })
	b.push("main@sha1:2", map[string]string{"a.yaml": configMap("a", "two")})
	ks := b.ready("app", "False/PruneFailed")
	if got, want := b.inventory(ks), "_a__ConfigMap _b__ConfigMap"; got != want {
		t.Errorf("inventory after the failure: got %s, want %s", got, want)
	}
	if !has("a", "two")(b) || b.gone("b") {
		t.Error("want the new revision applied, and the object that is not deleted there")
	}

	on.Store(false)
	ks = b.ready("app", "True/ReconciliationSucceeded/Applied revision: main@sha1:2")
	if got, want := b.inventory(ks), "_a__ConfigMap"; got != want || !b.gone("b") {
		t.Errorf("inventory after the retry: got %s, want %s, and the object gone", got, want)
	}
}

// TestOriginRevision follows the revision that an artifact was made from.
func TestOriginRevision(t *testing.T) {
	b := start(t)
	put := func(revision, origin, value string) {
		t.Helper()
		tree, err := source.NewTree(map[string]string{"a.yaml": configMap("a", value)})
		if err != nil {
			t.Fatal(err)
		}
		b.store.Put("GitRepository", b.ns, "repo", source.Snapshot{Revision: revision, Tree: tree, Origin: origin})
	}
	put("v1@sha256:1", "main@sha1:1", "one")
	b.create("app", nil)
	for _, tc := range []struct{ revision, origin, value, ready, want string }{
		{"v1@sha256:1", "main@sha1:1", "one", "True", "main@sha1:1"},
		{"v2@sha256:2", "main@sha1:2", "one", "True", "main@sha1:2"}, // nothing to apply
		{"v3@sha256:3", "main@sha1:3", "[", "False", "main@sha1:2"},  // fails: what was applied last stays
		{"v4@sha256:4", "", "two", "True", ""},                       // does not say
	} {
		put(tc.revision, tc.origin, tc.value)
		wanted := tc.ready
		if wanted == "True" {
			wanted += "/ReconciliationSucceeded/Applied revision: " + tc.revision
		}
		if got := b.ready("app", wanted).Status.LastAppliedOriginRevision; got != tc.want {
			t.Errorf("%s: lastAppliedOriginRevision: got %q, want %q", tc.revision, got, tc.want)
		}
	}
}

// TestArtifactDownload has a source that cannot be had, until it can.
func TestArtifactDownload(t *testing.T) {
	b := start(t)
	b.store.Fail("GitRepository", b.ns, "repo", errors.New("the artifact cannot be had"))
	b.create("app", nil)
	if ks := b.ready("app", "False/ArtifactFailed"); !strings.Contains(message(ks), "the artifact cannot be had") || ks.Status.Inventory != nil {
		t.Errorf("got %q and inventory %v, want the reason and none", message(ks), ks.Status.Inventory)
	}
	b.push("main@sha1:1", map[string]string{"a.yaml": configMap("a", "one")})
	b.ready("app", "True/ReconciliationSucceeded/Applied revision: main@sha1:1")
	if !has("a", "one")(b) {
		t.Error("ConfigMap a is not as in the source")
	}
}

// TestDeleteBeforeFinalizer deletes a Kustomization that has applied nothing.
func TestDeleteBeforeFinalizer(t *testing.T) {
	b := start(t)
	// Marked as being deleted when the controller first sees it: somebody
	// else's finalizer keeps it there.
	ks := &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "app", Finalizers: []string{"example.org/held"}}}
	ks.Spec = kustomizev1.KustomizationSpec{Interval: metav1.Duration{Duration: time.Hour}, Prune: true, SourceRef: kustomizev1.CrossNamespaceSourceReference{Kind: "GitRepository", Name: "repo"}}
	if err := b.Create(t.Context(), ks); err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(t.Context(), ks); err != nil {
		t.Fatal(err)
	}
	b.push("main@sha1:1", map[string]string{"a.yaml": configMap("a", "one")})
	eventually(t, 30*time.Second, "the finalizer of the other to be the only one", func() bool {
		err := b.Get(t.Context(), client.ObjectKeyFromObject(ks), ks)
		return err == nil && len(ks.Finalizers) == 1 && ks.DeletionTimestamp != nil
	})
	b.settled()
	if err := b.Get(t.Context(), client.ObjectKeyFromObject(ks), ks); err != nil {
		t.Fatal(err)
	}
	if len(ks.Finalizers) != 1 || !b.gone("a") {
		t.Errorf("finalizers: %v, want the other's alone and nothing applied", ks.Finalizers)
	}
	before := ks.DeepCopy()
	ks.Finalizers = nil
	if err := b.Patch(t.Context(), ks, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "it to be gone", func() bool {
		return apierrors.IsNotFound(b.Get(t.Context(), client.ObjectKeyFromObject(ks), &kustomizev1.Kustomization{}))
	})
}
