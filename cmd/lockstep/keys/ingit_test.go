package keys

import (
	"context"
	"strings"
	"testing"
	"time"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	lockstepv1alpha1 "github.com/lockstep-dev/lockstep/apis/lockstep/v1alpha1"
	"github.com/lockstep-dev/lockstep/reconciler/reseal"
	"github.com/lockstep-dev/lockstep/reconciler/source"
	"github.com/lockstep-dev/lockstep/sealer"
)

// controller runs what answers keys retire, with what Git holds.
func (b *bench) controller(held *source.Store, all ...sealer.Key) {
	b.t.Helper()
	skip := true
	scheme := b.Scheme()
	utilruntime.Must(sourcev1.AddToScheme(scheme))
	mgr, err := ctrl.NewManager(b.cp.RestConfig(), ctrl.Options{
		Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"}, Controller: config.Controller{SkipNameValidation: &skip},
		Client: client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
		Cache:  cache.Options{DefaultNamespaces: map[string]cache.Config{b.ns: {}}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	ring := &sealer.Keyring{}
	ring.Set(all...)
	c := &reseal.Controller{Client: mgr.GetClient(), Secrets: mgr.GetAPIReader(), Recorder: mgr.GetEventRecorderFor("lockstep"), Ring: ring, Sources: held, Namespace: b.ns}
	if err := c.SetupWithManager(mgr); err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.t.Context()))
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	b.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("manager: %v", err)
		}
	})
}

// repository makes a GitRepository, until the end of the test.
func (b *bench) repository(name string) {
	b.t.Helper()
	g := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": map[string]any{"namespace": b.ns, "name": name},
		"spec": map[string]any{"url": "https://git.example.com/" + name, "interval": "1h"},
	}}
	if err := b.Create(b.t.Context(), g); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := b.Delete(context.WithoutCancel(b.t.Context()), g); err != nil {
			b.t.Error(err)
		}
	})
}

// holds says what the controller has fetched of a GitRepository.
func (b *bench) holds(held *source.Store, name string, files map[string]string) {
	b.t.Helper()
	tree, err := source.NewTree(files)
	if err != nil {
		b.t.Fatal(err)
	}
	held.Put(sourcev1.GitRepositoryKind, b.ns, name, source.Snapshot{Revision: "main@sha1:1", Tree: tree})
}

// A key is not retired while a GitRepository holds a value of it that is not in
// the cluster, with or without a Reseal; the refusal says where it is.
func TestRetireLooksIntoGit(t *testing.T) {
	b := newBench(t)
	old, newest := b.key(), b.key()
	held := source.NewStore()
	b.repository("fleet")
	b.repository("never")
	b.holds(held, "fleet", map[string]string{
		"apps/db.yaml": sealedManifest(t, old, sealer.Binding{Namespace: b.ns, Name: "db"}, "v"),
		"apps/ok.yaml": sealedManifest(t, newest, sealer.Binding{Namespace: b.ns, Name: "ok"}, "v"),
	})
	b.controller(held, old, newest)
	_, err := b.lockstep("keys", "retire", short(old.Fingerprint))
	for _, want := range []string{short(old.Fingerprint) + " is needed by GitRepository " + b.ns + `/fleet: apps/db.yaml, SealedSecret db, item "password"`, "--leave-values-in-git"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("retire of a key that Git needs: %v, which lacks %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "ok.yaml") {
		t.Errorf("retire: %v", err)
	}
	if out := b.must("keys", "list"); strings.Contains(out, "retired") {
		t.Errorf("the key is retired:\n%s", out)
	}

	b.holds(held, "fleet", map[string]string{"apps/db.yaml": sealedManifest(t, newest, sealer.Binding{Namespace: b.ns, Name: "db"}, "v"), "x/t.yaml": "{{ if x }}\nkind: SealedSecret\n"})
	out := b.must("keys", "retire", short(old.Fingerprint))
	for _, want := range []string{"Retired", "Not looked at", "/never (nothing was ever fetched)", "/fleet: x/t.yaml"} {
		if !strings.Contains(out, want) {
			t.Errorf("retire: %s, which lacks %q", out, want)
		}
	}
}

// Where there are GitRepositories and no controller that says what they hold, a
// key is retired only by whoever says that it may be needed.
func TestRetireWithoutAnswer(t *testing.T) {
	b := newBench(t)
	old, newest := b.key(), b.key()
	b.repository("fleet")
	r := &lockstepv1alpha1.Reseal{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "r"}, Spec: lockstepv1alpha1.ResealSpec{SourceRef: lockstepv1alpha1.SourceReference{Name: "fleet"}}}
	if err := b.Create(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // it would count for the other tests
		if err := b.Delete(context.WithoutCancel(t.Context()), r); err != nil {
			t.Error(err)
		}
	})
	r.Status.Key = newest.Fingerprint
	if err := b.Status().Update(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	before := answerTimeout
	t.Cleanup(func() { answerTimeout = before })
	answerTimeout = time.Second
	if _, err := b.lockstep("keys", "retire", short(old.Fingerprint)); err == nil || !strings.Contains(err.Error(), "does not say") {
		t.Fatalf("retire without a controller: %v", err)
	}
	if out := b.must("keys", "retire", short(old.Fingerprint), "--leave-values-in-git"); !strings.Contains(out, "Retired") {
		t.Errorf("retire: %s", out)
	}
}
