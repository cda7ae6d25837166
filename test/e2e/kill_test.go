package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"github.com/lockstep-dev/lockstep/test/stage"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// lonely is a stage whose controller needs no lease, so that it is at work as
// soon as it is started again.
var lonely = testenv.Share(func(t testing.TB) (*stage.Stage, error) {
	return stage.Start(t.Context(), stage.Options{WithoutAWS: true, Args: []string{"--leader-elect=false"}})
})

// TestKilledAtAnyMoment pushes commits that add, change and remove objects,
// kills the controller somewhere in the middle of each sync, and sees in the end
// that the cluster holds exactly what Git does: nothing missing, nothing
// forgotten.
func TestKilledAtAnyMoment(t *testing.T) {
	s := lonely.Get(t)
	repo, err := s.Git.Repository(t.Context(), "private/kill.git")
	if err != nil {
		t.Fatal(err)
	}
	// A wide tree, so that a sync takes long enough to be in the middle of.
	const width, rounds = 60, 10
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	want := map[string]string{}
	ns := s.Cluster.Namespace(t)
	sync := stage.Sync("kill", "kill", "./app")
	sync.Spec.TargetNamespace = ns
	sync.Annotations = map[string]string{"lockstep.dev/allow-prune": "true"} // rounds that follow each other may take a third away
	if err := s.Ensure(t.Context(), s.GitCredentials(), stage.Source("kill", repo.URL(), time.Second), sync); err != nil {
		t.Fatal(err)
	}
	var head string
	for round := range rounds {
		files := map[string]string{}
		for i := range width {
			name := fmt.Sprintf("cm-%d", i)
			file := "app/" + name + ".yaml"
			switch _, there := want[name]; {
			case random.IntN(3) == 0 && there && len(want) > width/2:
				delete(want, name)
				files[file] = ""
			case random.IntN(2) == 0:
				want[name] = fmt.Sprintf("round %d", round)
				files[file] = fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {at: %q}\n", name, want[name])
			}
		}
		if head, err = repo.Commit(t.Context(), fmt.Sprintf("round %d", round), files); err != nil {
			t.Fatal(err)
		}
		reconcile(t, s, "kill")
		time.Sleep(time.Duration(random.IntN(400)) * time.Millisecond)
		s.Controller.Kill()
		if err := s.Controller.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, 2*time.Minute, func() string {
		ks := &kustomizev1.Kustomization{}
		if wrong := notReady(t, s, ks, key(stage.FluxNamespace, "kill")); wrong != "" {
			return wrong
		}
		if !strings.HasSuffix(ks.Status.LastAppliedRevision, head) {
			return "applied is " + ks.Status.LastAppliedRevision + ", not " + head
		}
		return ""
	})
	var list corev1.ConfigMapList
	if err := s.Client.List(t.Context(), &list, client.InNamespace(ns), client.HasLabels{"kustomize.toolkit.fluxcd.io/name"}); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, cm := range list.Items {
		got[cm.Name] = cm.Data["at"]
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			t.Errorf("%s: got %q, want %q", name, got[name], want[name])
		}
		delete(got, name)
	}
	for name := range got {
		t.Errorf("%s is in the cluster and not in Git: it was forgotten", name)
	}
}
