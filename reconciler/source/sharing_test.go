package source_test

import (
	"fmt"
	"net"
	"testing"
	"time"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"

	fluxmeta "github.com/fluxcd/pkg/apis/meta"

	"github.com/lockstep-dev/lockstep/reconciler/source"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// many makes repositories of an address, and returns their names.
func (b *bench) many(n int, prefix, url string) (names []string) {
	b.t.Helper()
	b.secret("git", map[string]string{"ca.crt": string(b.git.CA)})
	for i := range n {
		names = append(names, fmt.Sprintf("%s-%d", prefix, i))
		r := &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: names[i]}}
		r.Spec = sourcev1.GitRepositorySpec{URL: url, Interval: metav1.Duration{Duration: time.Hour}, Reference: &sourcev1.GitRepositoryRef{Branch: "main"}}
		r.Spec.SecretRef = &fluxmeta.LocalObjectReference{Name: "git"}
		if err := b.Create(b.t.Context(), r); err != nil {
			b.t.Fatal(err)
		}
	}
	return names
}

func (b *bench) allReady(names []string) {
	b.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for _, name := range names {
		for {
			r := &sourcev1.GitRepository{}
			if err := b.Get(b.t.Context(), types.NamespacedName{Namespace: b.ns, Name: name}, r); err != nil {
				b.t.Fatal(err)
			}
			if meta.IsStatusConditionTrue(r.Status.Conditions, "Ready") {
				break
			}
			if time.Now().After(deadline) {
				b.t.Fatalf("%s: %+v", name, r.Status.Conditions)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// TestOneFetchForAll counts what 40 GitRepositories of one address ask the
// server: one pack, and a few listings.
func TestOneFetchForAll(t *testing.T) {
	b := start(t)
	own, err := testenv.StartGit(t.Context(), testenv.GitOptions{TLS: true}) // that nothing else asks
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(own.Stop)
	b.git = own
	repo, _ := b.repository("public")
	if err := b.git.ResetCounts(t.Context()); err != nil {
		t.Fatal(err)
	}
	names := b.many(40, "same", repo.URL())
	b.allReady(names)
	counts, err := b.git.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("requests: %v", counts)
	if counts["git-upload-pack"] > 1 || counts["refs git-upload-pack"] > 15 {
		t.Errorf("requests for 40 GitRepositories: %v", counts)
	}
	first, _ := b.store.Get(sourcev1.GitRepositoryKind, b.ns, names[0])
	last, _ := b.store.Get(sourcev1.GitRepositoryKind, b.ns, names[39])
	if first.Tree == nil || first.Tree != last.Tree {
		t.Error("each has a tree of its own")
	}
}

// TestSlowServer has more repositories than there are workers at a server that
// takes connections and never answers: those of others are fetched meanwhile.
func TestSlowServer(t *testing.T) {
	b := start(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = c.Close() })
		}
	}()
	for i := range 20 {
		b.many(1, fmt.Sprintf("slow-%d", i), fmt.Sprintf("https://%s/%d.git", l.Addr(), i))
	}
	repo, _ := b.repository("public")
	time.Sleep(time.Second) // all workers that can be are at the slow server
	began := time.Now()
	b.allReady(b.many(3, "good", repo.URL()))
	if took := time.Since(began); took > 30*time.Second { // the slow ones take 60 s each
		t.Errorf("the others waited for %s", took)
	}
}

// TestSuspendedAfterRestart has again what was there when the repository was
// suspended, and nothing newer.
func TestSuspendedAfterRestart(t *testing.T) {
	b := start(t)
	repo, first := b.repository("public")
	b.create(repo.URL(), nil)
	b.ready("main@sha1:" + first)
	b.change(func(r *sourcev1.GitRepository) { r.Spec.Suspend = true })
	b.commit(repo, map[string]string{"app/cm.yaml": "a: 2\n"})
	before := b.get()
	b.restart()
	deadline := time.Now().Add(30 * time.Second)
	for {
		s, ok := b.store.Get(sourcev1.GitRepositoryKind, b.ns, "repo")
		if ok {
			if s.Revision != "main@sha1:"+first || b.file("app/cm.yaml") != "a: 1\n" {
				t.Errorf("restored %s, want %s", s.Revision, first)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing was restored within 30 s")
		}
		time.Sleep(20 * time.Millisecond)
	}
	if after := b.get(); after.ResourceVersion != before.ResourceVersion {
		t.Errorf("the suspended object was written: %+v", after.Status)
	}
}

// restart runs another controller, with nothing in its memory.
func (b *bench) restart() {
	b.t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, sourcev1.AddToScheme} {
		if err := add(scheme); err != nil {
			b.t.Fatal(err)
		}
	}
	b.store = source.NewStore()
	testenv.StartManager(b.t, b.cp, scheme, func(mgr ctrl.Manager) error {
		return (&source.Controller{
			Client: mgr.GetClient(), Metadata: mgr.GetCache(), Secrets: mgr.GetAPIReader(), Recorder: mgr.GetEventRecorderFor("lockstep"), Store: b.store,
		}).SetupWithManager(mgr)
	})
}
