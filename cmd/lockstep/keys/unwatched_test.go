package keys

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	lockstepv1alpha1 "github.com/lockstep-dev/lockstep/apis/lockstep/v1alpha1"
)

// What is retired without a look at a repository of the cluster says so.
func TestRetireNamesUnwatched(t *testing.T) {
	b := newBench(t)
	old := b.key()
	time.Sleep(1100 * time.Millisecond) // certificates count in seconds
	newest := b.key()
	for _, name := range []string{"seen", "unseen"} {
		g := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": map[string]any{"namespace": b.ns, "name": name},
			"spec": map[string]any{"url": "https://git.example.com/" + name, "interval": "1h"},
		}}
		if err := b.Create(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	r := &lockstepv1alpha1.Reseal{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "r"}, Spec: lockstepv1alpha1.ResealSpec{SourceRef: lockstepv1alpha1.SourceReference{Name: "seen"}}}
	if err := b.Create(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	r.Status.Key = newest.Fingerprint
	if err := b.Status().Update(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	out := b.must("keys", "retire", short(old.Fingerprint))
	if err := b.Delete(t.Context(), r); err != nil { // it would count for the other tests
		t.Fatal(err)
	}
	if !strings.Contains(out, "Not looked at") || !strings.Contains(out, b.ns+"/unseen") || strings.Contains(out, b.ns+"/seen") || !strings.Contains(out, "Retired") {
		t.Errorf("retire: %s", out)
	}
}
