package reseal_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	lockstepv1alpha1 "github.com/lockstep-dev/lockstep/apis/lockstep/v1alpha1"
	"github.com/lockstep-dev/lockstep/reconciler/source"
)

// repository makes another GitRepository, without a Reseal.
func (b *bench) repository(name string, fetched bool) {
	b.t.Helper()
	g := &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: name}, Spec: sourcev1.GitRepositorySpec{
		URL: "https://git.example.com/" + name, Interval: metav1.Duration{Duration: time.Hour},
	}}
	if err := b.Create(b.t.Context(), g); err != nil {
		b.t.Fatal(err)
	}
	if !fetched {
		return
	}
	g.Status.Artifact = &meta.Artifact{Path: "x", URL: "http://x", Revision: "main@sha1:1", Digest: "sha256:" + strings.Repeat("0", 64), LastUpdateTime: metav1.Now()}
	if err := b.Status().Update(b.t.Context(), g); err != nil {
		b.t.Fatal(err)
	}
}

// holds says what a GitRepository holds.
func (b *bench) holds(name string, files map[string]string) {
	b.t.Helper()
	tree, err := source.NewTree(files)
	if err != nil {
		b.t.Fatal(err)
	}
	b.held.Put(sourcev1.GitRepositoryKind, b.ns, name, source.Snapshot{Revision: "main@sha1:1", Tree: tree})
}

// again asks for a look now.
func (b *bench) again() {
	b.t.Helper()
	r, _ := b.status()
	before := r.DeepCopy()
	metav1.SetMetaDataAnnotation(&r.ObjectMeta, "reconcile.fluxcd.io/requestedAt", time.Now().String())
	if err := b.Patch(b.t.Context(), r, client.MergeFrom(before)); err != nil {
		b.t.Fatal(err)
	}
}

// A key is not retired while a GitRepository that no Reseal looks after holds a
// value of it, though none is in the cluster; what cannot be read is told.
func TestRetireLooksElsewhere(t *testing.T) {
	b := newBench(t)
	old, _ := b.keyOf()
	b.run()
	b.commit(map[string]string{"a.yaml": b.manifest("a", "password")})
	b.sync()
	b.source()
	b.repository("other", true)
	b.repository("late", true)
	b.repository("never", false)
	b.holds("other", map[string]string{"deep/x.yaml": b.manifest("x", "password"), "chart/t.yaml": "{{ if x }}\nkind: SealedSecret\n"})
	b.key()
	b.reseal(func(s *lockstepv1alpha1.ResealSpec) { s.Retire = true })
	b.until("the commit", func(r *lockstepv1alpha1.Reseal, _ string) bool { return r.Status.Commit != nil })
	b.sync()

	var message string
	r := b.until("the wait for the others", func(r *lockstepv1alpha1.Reseal, reason string) bool {
		if c := apimeta.FindStatusCondition(r.Status.Conditions, "Ready"); c != nil {
			message = c.Message
		}
		return reason == "Syncing" && strings.Contains(message, "GitRepository")
	})
	for _, want := range []string{b.ns + `/other: deep/x.yaml, SealedSecret x, item "password", of key ` + old[:12], b.ns + "/late (not fetched again yet)"} {
		if !strings.Contains(message, want) {
			t.Errorf("the message lacks %q:\n%s", want, message)
		}
	}
	if strings.Contains(message, "never") || len(r.Status.Retired) > 0 || b.ring.Retired(old) {
		t.Errorf("%s\n%+v", message, r.Status)
	}

	b.holds("late", map[string]string{"README.md": "nothing"})
	b.holds("other", map[string]string{"deep/x.yaml": b.manifest("x", "password"), "chart/t.yaml": "{{ if x }}\nkind: SealedSecret\n"})
	b.again()
	b.until("the old key to be retired", func(r *lockstepv1alpha1.Reseal, reason string) bool {
		return reason == "Resealed" && len(r.Status.Retired) == 1 && b.ring.Retired(old)
	})
	eventually(t, "the Event about what was not looked at", func() bool {
		var all corev1.EventList
		if err := b.List(t.Context(), &all, client.InNamespace(b.ns)); err != nil {
			t.Fatal(err)
		}
		for _, e := range all.Items {
			if e.Reason == "NotLookedAt" && strings.Contains(e.Message, "other: chart/t.yaml") && strings.Contains(e.Message, "never (nothing was ever fetched)") {
				return true
			}
		}
		return false
	})
}
