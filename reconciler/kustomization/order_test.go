package kustomization_test

import (
	"fmt"
	"net/http"
	"path"
	"sync/atomic"
	"testing"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestChangedPathFirst has many Kustomizations of one repository, and a commit
// that touches the path of one: it is applied before the others write that
// they are at that commit as well.
func TestChangedPathFirst(t *testing.T) {
	const many, changed = 30, "app-29"
	var before atomic.Int32
	before.Store(-1)
	b := start(t, func(b *bench) { b.ctrl.Workers = 1 }, tapped(func(b *bench, r *http.Request) {
		if r.Method == http.MethodPatch && path.Base(r.URL.Path) == changed {
			before.Store(int32(b.at("main@sha1:2")))
		}
	}))
	files := map[string]string{}
	for i := range many {
		name := fmt.Sprintf("app-%d", i)
		files[name+"/a.yaml"] = configMap(name, "one")
	}
	b.push("main@sha1:1", files)
	for i := range many {
		b.create(fmt.Sprintf("app-%d", i), func(s *kustomizev1.KustomizationSpec) { s.Path = fmt.Sprintf("app-%d", i) })
	}
	for i := range many {
		b.ready(fmt.Sprintf("app-%d", i), "True")
	}
	files[changed+"/a.yaml"] = configMap(changed, "two")
	b.push("main@sha1:2", files)
	for i := range many {
		b.ready(fmt.Sprintf("app-%d", i), "True/ReconciliationSucceeded/Applied revision: main@sha1:2")
	}
	if got := before.Load(); got != 0 {
		t.Errorf("when the one that changed was applied, %d others had the new revision in their status, want 0", got)
	}
}

// at counts the Kustomizations that have applied a revision.
func (b *bench) at(revision string) (n int) {
	var list kustomizev1.KustomizationList
	if err := b.List(b.t.Context(), &list, client.InNamespace(b.ns)); err != nil {
		b.t.Error(err)
	}
	for i := range list.Items {
		if list.Items[i].Status.LastAppliedRevision == revision {
			n++
		}
	}
	return n
}
