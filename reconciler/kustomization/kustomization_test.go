package kustomization_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/lockstep-dev/lockstep/reconciler/apply"
	"github.com/lockstep-dev/lockstep/reconciler/kustomization"
	"github.com/lockstep-dev/lockstep/reconciler/source"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

var cluster = testenv.Share(func(t testing.TB) (*testenv.ControlPlane, error) {
	return testenv.StartControlPlane(t.Context(), testenv.Options{Nodes: 1, CRDs: "../../charts/lockstep/crds"})
})

func TestMain(m *testing.M) { testenv.Main(m) }

// bench is a running controller and what a test needs to talk to it.
type bench struct {
	client.Client
	t        *testing.T
	ns       string
	store    *source.Store
	requests *counter
	ctrl     *kustomization.Controller
}

// counter counts the requests that the controller makes, but for the watches
// that it holds open and the leases and events of others.
type counter struct {
	writes, reads atomic.Int64
}

// counted is one transport of those that a counter counts.
type counted struct {
	*counter
	next http.RoundTripper
}

func (c counted) RoundTrip(r *http.Request) (*http.Response, error) {
	switch {
	case r.Method != http.MethodGet:
		c.writes.Add(1)
	case r.URL.Query().Get("watch") == "" && strings.Contains(r.URL.Path, "/namespaces/"):
		c.reads.Add(1)
	}
	return c.next.RoundTrip(r)
}

func start(t *testing.T, change ...func(*bench)) *bench {
	t.Helper()
	cp := cluster.Get(t)
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, kustomizev1.AddToScheme, sourcev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.New(cp.RestConfig(), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{Client: c, t: t, ns: cp.Namespace(t), store: source.NewStore(), requests: &counter{}}
	cfg := cp.RestConfig()
	cfg.QPS = -1
	cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper { return counted{b.requests, rt} })
	skip := true
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme:         scheme,
		MapperProvider: apply.NewMapper,
		Metrics:        metricsserver.Options{BindAddress: "0"},
		Controller:     config.Controller{SkipNameValidation: &skip},
		Client:         client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.ctrl = &kustomization.Controller{
		Client: mgr.GetClient(), Metadata: mgr.GetCache(), Recorder: mgr.GetEventRecorderFor("lockstep"),
		Sources: b.store, Clients: &apply.Clients{Config: cfg, Mapper: mgr.GetRESTMapper()},
	}
	for _, f := range change {
		f(b)
	}
	if err := b.ctrl.SetupWithManager(mgr); err != nil {
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

// push makes files the newest revision of the source "repo".
func (b *bench) push(revision string, files map[string]string) {
	b.t.Helper()
	tree, err := source.NewTree(files)
	if err != nil {
		b.t.Fatal(err)
	}
	b.store.Put("GitRepository", b.ns, "repo", source.Snapshot{Revision: revision, Tree: tree})
}

func (b *bench) create(name string, change func(*kustomizev1.KustomizationSpec)) *kustomizev1.Kustomization {
	b.t.Helper()
	ks := &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: name}}
	ks.Spec = kustomizev1.KustomizationSpec{
		Interval:        metav1.Duration{Duration: time.Hour},
		RetryInterval:   &metav1.Duration{Duration: 2 * time.Second},
		Prune:           true,
		SourceRef:       kustomizev1.CrossNamespaceSourceReference{Kind: "GitRepository", Name: "repo"},
		TargetNamespace: b.ns,
	}
	if change != nil {
		change(&ks.Spec)
	}
	if err := b.Create(b.t.Context(), ks); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		ctx := context.WithoutCancel(b.t.Context())
		if err := b.Delete(ctx, ks); client.IgnoreNotFound(err) != nil {
			b.t.Errorf("delete %s: %v", name, err)
		}
		eventually(b.t, 10*time.Second, name+" to be finalized", func() bool {
			return apierrors.IsNotFound(b.Get(ctx, client.ObjectKeyFromObject(ks), &kustomizev1.Kustomization{}))
		})
	})
	return ks
}

// ready waits until Ready of a Kustomization is what is wanted, for the newest
// generation, and returns the object.
func (b *bench) ready(name, want string) *kustomizev1.Kustomization {
	b.t.Helper()
	ks, last := &kustomizev1.Kustomization{}, ""
	eventually(b.t, 20*time.Second, name+" to be "+want, func() bool {
		if err := b.Get(b.t.Context(), client.ObjectKey{Namespace: b.ns, Name: name}, ks); err != nil {
			b.t.Fatal(err)
		}
		c := apimeta.FindStatusCondition(ks.Status.Conditions, meta.ReadyCondition)
		if c == nil || ks.Status.ObservedGeneration != ks.Generation {
			return false
		}
		last = string(c.Status) + "/" + c.Reason + "/" + c.Message
		return strings.HasPrefix(last, want)
	}, &last)
	return ks
}

func message(ks *kustomizev1.Kustomization) string {
	return apimeta.FindStatusCondition(ks.Status.Conditions, meta.ReadyCondition).Message
}

func eventually(t *testing.T, timeout time.Duration, what string, check func() bool, last ...*string) {
	t.Helper()
	for deadline := time.Now().Add(timeout); time.Now().Before(deadline); {
		if check() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	if len(last) > 0 {
		t.Fatalf("waited %s for %s; last seen: %s", timeout, what, *last[0])
	}
	t.Fatalf("waited %s for %s", timeout, what)
}

func (b *bench) configMap(name string) (*corev1.ConfigMap, error) {
	cm := &corev1.ConfigMap{}
	return cm, b.Get(b.t.Context(), client.ObjectKey{Namespace: b.ns, Name: name}, cm)
}

func (b *bench) gone(name string) bool {
	_, err := b.configMap(name)
	return apierrors.IsNotFound(err)
}

func configMap(name, value string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + name + "\ndata:\n  key: " + value + "\n"
}

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: example.org/web:1}]}
`

// settled returns the number of writes once none has come for a while: an event
// is sent behind the status that it tells of.
func (b *bench) settled() int64 {
	for {
		before := b.requests.writes.Load()
		time.Sleep(300 * time.Millisecond)
		if after := b.requests.writes.Load(); after == before {
			return after
		}
	}
}

func TestApplyPruneDrift(t *testing.T) {
	b := start(t)
	b.push("main@sha1:1", map[string]string{"app/a.yaml": configMap("a", "one"), "app/b.yaml": configMap("b", "one"), "other/c.yaml": configMap("c", "one")})
	b.create("app", func(s *kustomizev1.KustomizationSpec) { s.Path = "./app" })
	ks := b.ready("app", "True/ReconciliationSucceeded/Applied revision: main@sha1:1")

	// Finalizer, inventory, result: three writes besides the objects, and the event.
	if got, want := b.settled(), int64(2+3+1); got != want {
		t.Errorf("first apply of 2 objects: %d writes, want %d", got, want)
	}
	wantIDs := []string{b.ns + "_a__ConfigMap", b.ns + "_b__ConfigMap"}
	for i, e := range ks.Status.Inventory.Entries {
		if e.ID != wantIDs[i] || e.Version != "v1" {
			t.Errorf("inventory[%d]: got %v, want %s", i, e, wantIDs[i])
		}
	}
	if _, err := b.configMap("c"); !apierrors.IsNotFound(err) {
		t.Errorf("an object outside the path: got %v, want none", err)
	}

	t.Run("NothingChanged", func(t *testing.T) { nothingChanged(t, b) })
	t.Run("NoOp", func(t *testing.T) { noOp(t, b) })
	t.Run("DriftEdited", func(t *testing.T) { driftEdited(t, b) })
	t.Run("DriftDeleted", func(t *testing.T) { driftDeleted(t, b) })
	t.Run("ForeignField", func(t *testing.T) { foreignField(t, b) })
	t.Run("Prune", func(t *testing.T) { pruneOne(t, b) })
	t.Run("Delete", func(t *testing.T) { deleteAll(t, b, ks) })
}

// nothingChanged has a commit come that is elsewhere.
func nothingChanged(t *testing.T, b *bench) {
	t.Helper()
	before := b.requests.writes.Load()
	b.push("main@sha1:2", map[string]string{"app/a.yaml": configMap("a", "one"), "app/b.yaml": configMap("b", "one"), "other/c.yaml": configMap("c", "two")})
	b.ready("app", "True/ReconciliationSucceeded/Applied revision: main@sha1:2")
	if got := b.settled() - before; got != 2 {
		t.Errorf("a commit elsewhere: %d writes, want 2, for the revision in the status and its event", got)
	}
}

// noOp has a commit come that is none.
func noOp(t *testing.T, b *bench) {
	t.Helper()
	reads, writes := b.requests.reads.Load(), b.requests.writes.Load()
	b.push("main@sha1:2", map[string]string{"app/a.yaml": configMap("a", "one"), "app/b.yaml": configMap("b", "one")})
	time.Sleep(time.Second) // long enough for any request to be made
	if r, w := b.requests.reads.Load()-reads, b.requests.writes.Load()-writes; r+w != 0 {
		t.Errorf("a no-op: %d reads and %d writes, want none", r, w)
	}
}

// driftEdited edits an object.
func driftEdited(t *testing.T, b *bench) {
	t.Helper()
	cm, err := b.configMap("a")
	if err != nil {
		t.Fatal(err)
	}
	cm.Data["key"] = "edited"
	if err := b.Update(t.Context(), cm); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Second, "the edit to be put right", func() bool {
		cm, err := b.configMap("a")
		return err == nil && cm.Data["key"] == "one"
	})
}

// driftDeleted deletes one.
func driftDeleted(t *testing.T, b *bench) {
	t.Helper()
	if err := b.Delete(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "b"}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Second, "the object to be back", func() bool { return !b.gone("b") })
}

// foreignField adds a field that is not ours.
func foreignField(t *testing.T, b *bench) {
	t.Helper()
	cm, err := b.configMap("a")
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond) // for the event of the last correction
	before := b.requests.writes.Load()
	cm.Annotations = map[string]string{"someone": "else"}
	if err := b.Update(t.Context(), cm); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	if got := b.requests.writes.Load() - before; got != 0 {
		t.Errorf("a field that is not ours: %d writes, want none", got)
	}
}

// pruneOne takes an object out of the source.
func pruneOne(t *testing.T, b *bench) {
	t.Helper()
	b.push("main@sha1:3", map[string]string{"app/a.yaml": configMap("a", "three")})
	ks := b.ready("app", "True/ReconciliationSucceeded/Applied revision: main@sha1:3")
	if !b.gone("b") {
		t.Error("ConfigMap b is still there")
	}
	if n := len(ks.Status.Inventory.Entries); n != 1 {
		t.Errorf("inventory has %d entries, want 1", n)
	}
	if cm, err := b.configMap("a"); err != nil || cm.Data["key"] != "three" {
		t.Errorf("ConfigMap a: got %v, %v, want three", cm.Data, err)
	}
}

// deleteAll deletes the Kustomization.
func deleteAll(t *testing.T, b *bench, ks *kustomizev1.Kustomization) {
	t.Helper()
	if err := b.Delete(t.Context(), ks); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "ConfigMap a to be deleted with its Kustomization", func() bool { return b.gone("a") })
}

func TestSubstituteFrom(t *testing.T) {
	b := start(t)
	canary := testenv.NewCanary(t)
	b.push("main@sha1:1", map[string]string{"a.yaml": configMap("a", "${COLOR}-${SIZE:=small}")})
	b.create("app", func(s *kustomizev1.KustomizationSpec) {
		s.PostBuild = &kustomizev1.PostBuild{SubstituteFrom: []kustomizev1.SubstituteReference{{Kind: "ConfigMap", Name: "vars"}, {Kind: "Secret", Name: "more", Optional: true}}}
	})
	ks := b.ready("app", "False/BuildFailed")
	if want := "spec.postBuild.substituteFrom[0]: ConfigMap " + b.ns + "/vars does not exist"; !strings.Contains(message(ks), want) {
		t.Errorf("message: got %s, want %s", message(ks), want)
	}
	if err := b.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "vars"}, Data: map[string]string{"COLOR": "red"}}); err != nil {
		t.Fatal(err)
	}
	b.ready("app", "True")
	has := func(want string) func() bool {
		return func() bool { cm, err := b.configMap("a"); return err == nil && cm.Data["key"] == want }
	}
	eventually(t, time.Second, "the value of the ConfigMap", has("red-small"))
	if err := b.Update(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "vars"}, Data: map[string]string{"COLOR": "blue"}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Second, "the changed value of the ConfigMap", has("blue-small"))

	// A value of a Secret that the API server refuses is not repeated.
	if err := b.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "more"}, StringData: map[string]string{"SIZE": canary.Value()}}); err != nil {
		t.Fatal(err)
	}
	b.push("main@sha1:2", map[string]string{"web.yaml": strings.Replace(deployment, "{name: web}", "{name: web, labels: {size: \"-${SIZE}-\"}}", 1)})
	ks = b.ready("app", "False/ReconciliationFailed")
	if strings.Contains(message(ks), canary.Value()) {
		t.Error("the message repeats a value of a Secret")
	}
	if !strings.Contains(message(ks), "[secret]") {
		t.Errorf("message: got %s, want the refused field with the value blanked out", message(ks))
	}
}
