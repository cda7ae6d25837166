package source_test

import (
	"testing"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestSparseCheckout(t *testing.T) {
	b := start(t)
	repo, _ := b.repository("public")
	hash := b.commit(repo, map[string]string{"clusters/a/x.yaml": "x", "clusters/b/y.yaml": "y", "apps/z.yaml": "z"})
	b.create(repo.URL(), func(s *sourcev1.GitRepositorySpec) { s.SparseCheckout = []string{"./clusters/a"} })
	b.ready("main@sha1:" + hash)
	for name, want := range map[string]bool{"clusters/a/x.yaml": true, "clusters/b/y.yaml": false, "apps/z.yaml": false, "README.md": true} {
		if got := b.has(name); got != want {
			t.Errorf("%s in the tree: got %t, want %t", name, got, want)
		}
	}
	b.change(func(r *sourcev1.GitRepository) { r.Spec.SparseCheckout = []string{"clusters/a", "apps"} })
	b.eventually("the other folder", func(*sourcev1.GitRepository) bool { return b.has("apps/z.yaml") })
	b.change(func(r *sourcev1.GitRepository) { r.Spec.SparseCheckout = []string{"nowhere"} })
	b.failed(sourcev1.InvalidPathReason, "spec.sparseCheckout[0]", "nowhere")
}

func TestInclude(t *testing.T) {
	b := start(t)
	repo, first := b.repository("public")
	shared, err := b.git.Repository(t.Context(), "public/shared-"+b.ns+".git")
	if err != nil {
		t.Fatal(err)
	}
	b.commit(shared, map[string]string{"base/a.yaml": "a", "base/sub/b.yaml": "b", "other.yaml": "x"})
	include := []sourcev1.GitRepositoryInclude{{GitRepositoryRef: meta.LocalObjectReference{Name: "shared"}, FromPath: "base", ToPath: "lib/base"}}
	b.create(repo.URL(), func(s *sourcev1.GitRepositorySpec) { s.Include = include })
	b.failed("IncludeUnavailable", "spec.include[0]", "shared")

	other := &sourcev1.GitRepository{}
	other.Namespace, other.Name, other.Spec = b.ns, "shared", b.get().Spec
	other.Spec.URL, other.Spec.Include = shared.URL(), nil
	if err := b.Create(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	r := b.ready("main@sha1:" + first)
	for name, want := range map[string]bool{"app/cm.yaml": true, "lib/base/a.yaml": true, "lib/base/sub/b.yaml": true, "other.yaml": false, "lib/other.yaml": false} {
		if got := b.has(name); got != want {
			t.Errorf("%s in the tree: got %t, want %t", name, got, want)
		}
	}
	if len(r.Status.IncludedArtifacts) != 1 || len(r.Status.ObservedInclude) != 1 {
		t.Errorf("status: got included %v, observed %v, want one each", r.Status.IncludedArtifacts, r.Status.ObservedInclude)
	}

	// What is new in the other repository is new in this one.
	second := b.commit(shared, map[string]string{"base/c.yaml": "c"})
	before := other.DeepCopy()
	other.Annotations = map[string]string{meta.ReconcileRequestAnnotation: "now"}
	if err := b.Patch(t.Context(), other, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	b.eventually("the new file", func(r *sourcev1.GitRepository) bool {
		return b.has("lib/base/c.yaml") && r.Status.IncludedArtifacts[0].Revision == "main@sha1:"+second
	})

	b.change(func(r *sourcev1.GitRepository) { r.Spec.Include[0].ToPath = "app/cm.yaml/.." })
	b.eventually("the path to be clean", func(*sourcev1.GitRepository) bool { return b.has("app/a.yaml") })
	b.change(func(r *sourcev1.GitRepository) { r.Spec.Include[0].FromPath = "nowhere" })
	b.failed(sourcev1.InvalidPathReason, "spec.include[0].fromPath", "nowhere")
	b.change(func(r *sourcev1.GitRepository) { r.Spec.Include[0].GitRepositoryRef.Name = "repo" })
	b.failed("IncludeUnavailable", "cannot include itself")
}
