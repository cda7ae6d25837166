package reseal_test

import (
	"strings"
	"testing"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	lockstepv1alpha1 "github.com/lockstep-dev/lockstep/apis/lockstep/v1alpha1"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

var (
	cluster = testenv.Share(func(t testing.TB) (*testenv.ControlPlane, error) {
		return testenv.StartControlPlane(t.Context(), testenv.Options{CRDs: "../../charts/lockstep/crds"})
	})
	server = testenv.Share(func(t testing.TB) (*testenv.GitServer, error) {
		return testenv.StartGit(t.Context(), testenv.GitOptions{})
	})
)

func TestMain(m *testing.M) { testenv.Main(m) }

// A new key: what Git holds is sealed again by one commit that changes nothing
// but ciphertexts, the cluster follows, and the old key is retired. At every
// moment everything opens.
func TestRotation(t *testing.T) {
	b := newBench(t)
	old, _ := b.keyOf()
	b.run()
	before := b.commit(map[string]string{
		"apps/a.yaml": "# two of them\n" + b.manifest("a", "password") + "---\n" + b.manifest("b", "token"), "apps/cm.yaml": "kind: ConfigMap\n", "README.md": "SealedSecret",
	})
	b.sync()
	b.source()
	b.reseal(func(s *lockstepv1alpha1.ResealSpec) {
		s.Retire = true
		s.Commit = lockstepv1alpha1.CommitSpec{Author: lockstepv1alpha1.Author{Name: "Robot", Email: "robot@example.com"}}
	})
	b.until("nothing to do", func(_ *lockstepv1alpha1.Reseal, reason string) bool { return reason == "Resealed" })
	if head := b.git("ls-remote", "origin", "refs/heads/main"); !strings.HasPrefix(head, before) {
		t.Fatal("a commit was made with nothing to do")
	}
	stop := b.probe()

	newest := b.key()
	r := b.until("the commit", func(r *lockstepv1alpha1.Reseal, reason string) bool {
		return reason == "Syncing" && r.Status.Key == newest
	})
	b.git("fetch", "--quiet", "origin", "main")
	if n := b.git("rev-list", "--count", before+"..origin/main"); n != "1" {
		t.Errorf("%s commits were made, want one", n)
	}
	if r.Status.Commit == nil || r.Status.Commit.SHA1 != b.git("rev-parse", "origin/main") || len(r.Status.Retired) > 0 {
		t.Errorf("status: %+v", r.Status)
	}
	b.onlyCiphertexts(before, "origin/main")
	if text := b.git("log", "-1", "--format=%an <%ae>%n%B", "origin/main"); !strings.HasPrefix(text, "Robot <robot@example.com>\nSeal again with the newest key\n") ||
		!strings.Contains(text, "2 values of 2 SealedSecrets in 1 files") || !strings.Contains(text, newest) {
		t.Errorf("the commit says:\n%s", text)
	}

	b.sync()
	r = b.until("the old key to be retired", func(r *lockstepv1alpha1.Reseal, reason string) bool {
		return reason == "Resealed" && len(r.Status.Retired) == 1 && b.ring.Retired(old)
	})
	if r.Status.Retired[0] != old {
		t.Errorf("retired is %v, want %s", r.Status.Retired, old)
	}
	if looks := stop(); looks < 5 {
		t.Errorf("the prober looked %d times only", looks)
	}
}

// What is killed between the push and the status begins again with a look, and
// makes no second commit; one that lost a race is made again on the new head.
func TestKilledAndRaced(t *testing.T) {
	b := newBench(t)
	stop := b.run()
	b.commit(map[string]string{"a.yaml": b.manifest("a", "x")})
	b.source()
	stop()
	b.key()
	other := b.commit(map[string]string{"other.txt": "pushed by someone else"})
	stop = b.run()
	eventually(t, "both keys", func() bool { return b.ring.Len() == 2 })
	b.reseal(nil)
	r := b.until("the commit", func(r *lockstepv1alpha1.Reseal, _ string) bool { return r.Status.Commit != nil })
	if r.Status.Commit.Base != other {
		t.Errorf("the commit is on %s, want %s", r.Status.Commit.Base, other)
	}
	stop()
	head := b.git("ls-remote", "origin", "refs/heads/main")
	r.Status = lockstepv1alpha1.ResealStatus{} // as if the status had never been written
	if err := b.Status().Update(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	b.run()
	b.until("a look", func(_ *lockstepv1alpha1.Reseal, reason string) bool { return reason == "Resealed" })
	if again := b.git("ls-remote", "origin", "refs/heads/main"); again != head {
		t.Error("a second commit was made")
	}
}

// What cannot be sealed again is named, and the rest is done.
func TestUnreadable(t *testing.T) {
	b := newBench(t)
	b.run()
	good := b.manifest("a", "x")
	foreign := strings.Replace(b.manifest("c", "y"), "name: c", "name: d", 1)
	b.commit(map[string]string{"a.yaml": good, "c.yaml": foreign, "chart/t.yaml": "{{ if x }}\nkind: SealedSecret\n"})
	b.source()
	newest := b.key()
	eventually(t, "both keys", func() bool { return b.ring.Len() == 2 })
	b.reseal(func(s *lockstepv1alpha1.ResealSpec) { s.Retire = true })
	r := b.until("the rest", func(r *lockstepv1alpha1.Reseal, reason string) bool {
		return reason == "Unreadable" && r.Status.Commit != nil
	})
	all := strings.Join(r.Status.Unknown, "\n")
	if r.Status.Key != newest || len(r.Status.Unknown) != 2 || !strings.Contains(all, "chart/t.yaml: not YAML") || !strings.Contains(all, `c.yaml, item "y"`) || len(r.Status.Retired) > 0 {
		t.Errorf("status: %+v", r.Status)
	}
}

// What a Reseal of a tenant may not do is refused by name.
func TestRefused(t *testing.T) {
	b := newBench(t)
	tenant := b.cp.Namespace(t)
	b.also = tenant
	b.run()
	for want, spec := range map[string]lockstepv1alpha1.ResealSpec{
		"spec.retire":    {SourceRef: lockstepv1alpha1.SourceReference{Name: "x"}, Retire: true},
		"spec.sourceRef": {SourceRef: lockstepv1alpha1.SourceReference{Name: "fleet", Namespace: b.ns}},
	} {
		r := &lockstepv1alpha1.Reseal{ObjectMeta: metav1.ObjectMeta{Namespace: tenant, GenerateName: "x"}, Spec: spec}
		if err := b.Create(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		eventually(t, want+" to be refused", func() bool {
			if err := b.Get(t.Context(), client.ObjectKeyFromObject(r), r); err != nil {
				t.Fatal(err)
			}
			ready := apimeta.FindStatusCondition(r.Status.Conditions, "Ready")
			return ready != nil && ready.Reason == "NotAllowed" && strings.Contains(ready.Message, want)
		})
		if err := b.Delete(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
}
