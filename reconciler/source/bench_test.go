package source_test

import (
	"context"
	"io/fs"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/lockstep-dev/lockstep/reconciler/source"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

var cluster = testenv.Share(func(t testing.TB) (*testenv.ControlPlane, error) {
	return testenv.StartControlPlane(t.Context(), testenv.Options{CRDs: "../../charts/lockstep/crds"})
})

var server = testenv.Share(func(t testing.TB) (*testenv.GitServer, error) {
	return testenv.StartGit(t.Context(), testenv.GitOptions{TLS: true})
})

func TestMain(m *testing.M) { testenv.Main(m) }

// bench is a running controller and what a test needs to talk to it.
type bench struct {
	client.Client
	t      *testing.T
	ns     string
	cp     *testenv.ControlPlane
	git    *testenv.GitServer
	store  *source.Store
	writes atomic.Int64
}

func start(t *testing.T, change ...func(*source.Controller)) *bench {
	t.Helper()
	cp := cluster.Get(t)
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, sourcev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.New(cp.RestConfig(), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{Client: c, t: t, ns: cp.Namespace(t), cp: cp, git: server.Get(t), store: source.NewStore()}
	cfg := cp.RestConfig()
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Method != http.MethodGet {
				b.writes.Add(1)
			}
			return next.RoundTrip(r)
		})
	})
	skip := true
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"}, Controller: config.Controller{SkipNameValidation: &skip},
		Cache: cache.Options{DefaultNamespaces: map[string]cache.Config{b.ns: {}}}, // not what other tests left
	})
	if err != nil {
		t.Fatal(err)
	}
	ctl := &source.Controller{
		Client: mgr.GetClient(), Metadata: mgr.GetCache(), Secrets: mgr.GetAPIReader(),
		Recorder: mgr.GetEventRecorderFor("lockstep"), Store: b.store,
	}
	for _, f := range change {
		f(ctl)
	}
	if err := ctl.SetupWithManager(mgr); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("manager: %v", err)
		}
	})
	return b
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// repository makes one with a commit.
func (b *bench) repository(path string) (*testenv.Repository, string) {
	b.t.Helper()
	r, err := b.git.Repository(b.t.Context(), path+"/"+b.ns+".git")
	if err != nil {
		b.t.Fatal(err)
	}
	return r, b.commit(r, map[string]string{"app/cm.yaml": "a: 1\n", "README.md": "x"})
}

func (b *bench) commit(r *testenv.Repository, files map[string]string) string {
	b.t.Helper()
	hash, err := r.Commit(b.t.Context(), "change", files)
	if err != nil {
		b.t.Fatal(err)
	}
	return hash
}

func (b *bench) secret(name string, data map[string]string) {
	b.t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: name}, StringData: data}
	err := b.Create(b.t.Context(), s)
	if client.IgnoreAlreadyExists(err) != nil {
		b.t.Fatal(err)
	}
	if err != nil {
		if err := b.Update(b.t.Context(), s); err != nil {
			b.t.Fatal(err)
		}
	}
}

// create makes the GitRepository "repo" for a public repository on main.
func (b *bench) create(url string, change func(*sourcev1.GitRepositorySpec)) {
	b.t.Helper()
	r := &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "repo"}}
	r.Spec = sourcev1.GitRepositorySpec{URL: url, Interval: metav1.Duration{Duration: time.Hour}, Reference: &sourcev1.GitRepositoryRef{Branch: "main"}}
	if strings.HasPrefix(url, "https") {
		b.secret("git", map[string]string{"ca.crt": string(b.git.CA)})
		r.Spec.SecretRef = &meta.LocalObjectReference{Name: "git"}
	}
	if change != nil {
		change(&r.Spec)
	}
	if err := b.Create(b.t.Context(), r); err != nil {
		b.t.Fatal(err)
	}
}

// change edits the GitRepository.
func (b *bench) change(f func(*sourcev1.GitRepository)) {
	b.t.Helper()
	r := b.get()
	before := r.DeepCopy()
	f(r)
	if err := b.Patch(b.t.Context(), r, client.MergeFrom(before)); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) get() *sourcev1.GitRepository {
	b.t.Helper()
	r := &sourcev1.GitRepository{}
	if err := b.Get(b.t.Context(), types.NamespacedName{Namespace: b.ns, Name: "repo"}, r); err != nil {
		b.t.Fatal(err)
	}
	return r
}

// eventually waits until check is true of the GitRepository.
func (b *bench) eventually(what string, check func(*sourcev1.GitRepository) bool) *sourcev1.GitRepository {
	b.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		r := b.get()
		if check(r) {
			return r
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("%s: not so after 20 s; conditions: %+v", what, r.Status.Conditions)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (b *bench) ready(revision string) *sourcev1.GitRepository {
	b.t.Helper()
	return b.eventually("ready with "+revision, func(r *sourcev1.GitRepository) bool {
		return apimeta.IsStatusConditionTrue(r.Status.Conditions, "Ready") && r.Status.Artifact.Revision == revision && r.Status.ObservedGeneration == r.Generation
	})
}

// failed waits for Ready=False with a reason, and for the parts of its message.
func (b *bench) failed(reason string, parts ...string) {
	b.t.Helper()
	b.eventually("failed with "+reason+" "+strings.Join(parts, ", "), func(r *sourcev1.GitRepository) bool {
		ready := apimeta.FindStatusCondition(r.Status.Conditions, "Ready")
		fetch := apimeta.FindStatusCondition(r.Status.Conditions, sourcev1.FetchFailedCondition)
		if ready == nil || fetch == nil || ready.Status != "False" || ready.Reason != reason || fetch.Status != "True" || fetch.Reason != reason {
			return false
		}
		for _, p := range parts {
			if !strings.Contains(ready.Message, p) {
				return false
			}
		}
		return true
	})
}

// toldOnce waits for the Event of the failure that the object is in, and checks
// that there is one.
func (b *bench) toldOnce(reason string) {
	b.t.Helper()
	message := apimeta.FindStatusCondition(b.get().Status.Conditions, "Ready").Message
	n := int32(0)
	b.eventually("an Event with "+reason, func(*sourcev1.GitRepository) bool {
		var events corev1.EventList
		if err := b.List(b.t.Context(), &events, client.InNamespace(b.ns)); err != nil {
			b.t.Fatal(err)
		}
		n = 0
		for _, e := range events.Items {
			if e.Type == corev1.EventTypeWarning && e.Reason == reason && e.Message == message {
				n += max(1, e.Count)
			}
		}
		return n > 0
	})
	if n != 1 {
		b.t.Errorf("Events with %s and %q: got %d, want 1", reason, message, n)
	}
}

func (b *bench) file(name string) string {
	b.t.Helper()
	s, ok := b.store.Get("GitRepository", b.ns, "repo")
	if !ok {
		b.t.Fatal("the store has no snapshot")
	}
	data, err := fs.ReadFile(s.Tree, name)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(data)
}

// has reports whether a file is in the tree.
func (b *bench) has(name string) bool {
	b.t.Helper()
	s, ok := b.store.Get("GitRepository", b.ns, "repo")
	if !ok {
		b.t.Fatal("the store has no snapshot")
	}
	_, err := fs.Stat(s.Tree, name)
	return err == nil
}
