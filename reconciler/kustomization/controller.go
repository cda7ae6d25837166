// Package kustomization is the Flux front of the sync core: a Kustomization
// names a source and a path, and this controller renders, plans and applies
// what is there, prunes what is no longer, and watches the health of it all.
package kustomization

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/lockstep-dev/lockstep/reconciler"
	"github.com/lockstep-dev/lockstep/reconciler/apply"
	"github.com/lockstep-dev/lockstep/reconciler/decrypt"
	"github.com/lockstep-dev/lockstep/reconciler/source"
)

// finalizer is Flux's, so that an object moves between the two without a trace.
const finalizer = kustomizev1.KustomizationFinalizer

// Controller reconciles Kustomizations. The fields up to Clients are required.
type Controller struct {
	Client   client.Client
	Metadata cache.Cache // metadata of Secrets and ConfigMaps
	Recorder record.EventRecorder
	Sources  *source.Store
	Clients  *apply.Clients

	// Account applies for a Kustomization without a serviceAccountName. The
	// zero Account is the controller itself.
	Account    apply.Account
	References reconciler.References
	Workers    int // Kustomizations worked on at once; 0 means 8

	// DefaultServiceAccount, if set, is the name of the ServiceAccount, in its
	// own namespace, that applies for a Kustomization without a
	// serviceAccountName. It goes before Account.
	DefaultServiceAccount string
	// Permissive says that the platform owner wants Kustomizations without a
	// serviceAccountName to be applied with the controller's own rights.
	// Account and DefaultServiceAccount are then empty.
	Permissive bool
	// Plaintext says what to do about Secrets that are in clear in the source.
	Plaintext Plaintext
	// Decryption is what the platform owner says about spec.decryption.
	Decryption decrypt.Settings
	// AgeSecret, if it has a name, is a Secret with age keys for everyone who
	// asks for decryption.
	AgeSecret types.NamespacedName
	// Clouds are where the clouds' lists of clusters are.
	Clouds Clouds

	states  states
	claims  claims
	rules   rules
	watcher *apply.Watcher
}

// +kubebuilder:rbac:groups=kustomize.toolkit.fluxcd.io,resources=kustomizations,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=kustomize.toolkit.fluxcd.io,resources=kustomizations/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=secrets;configmaps,verbs=list;watch
// +kubebuilder:rbac:groups="",resources=serviceaccounts,verbs=get;impersonate
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch

func (c *Controller) loop() *reconciler.Loop[*kustomizev1.Kustomization] {
	return &reconciler.Loop[*kustomizev1.Kustomization]{
		Meter:     reconciler.NewDurations(kustomizev1.KustomizationKind),
		Client:    c.Client,
		Recorder:  c.Recorder,
		New:       func() *kustomizev1.Kustomization { return &kustomizev1.Kustomization{} },
		Apply:     c.apply,
		Every:     c.every,
		Suspended: func(ks *kustomizev1.Kustomization) bool { return ks.Spec.Suspend },
		Finalizer: finalizer,
		Finalize:  c.finalize,
		Gone:      c.gone,
		Success: func(ks *kustomizev1.Kustomization) (string, string) {
			return meta.ReconciliationSucceededReason, "Applied revision: " + ks.Status.LastAppliedRevision
		},
		Observe: observe,
	}
}

// observe completes the status as Flux's client expects it.
func observe(ks *kustomizev1.Kustomization, _ error) {
	ks.Status.ObservedGeneration = ks.Generation
	if at, ok := meta.ReconcileAnnotationValue(ks.GetAnnotations()); ok {
		ks.Status.SetLastHandledReconcileRequest(at)
	}
}

// apply brings the cluster in line with one Kustomization. It never waits: a
// watch brings it back.
func (c *Controller) apply(ctx context.Context, ks *kustomizev1.Kustomization) error {
	if err := c.compile(ks); err != nil {
		return err
	}
	snapshot, err := c.source(ks)
	if err != nil {
		return c.keep(ks, err)
	}
	if err := c.dependencies(ctx, ks); err != nil {
		return err
	}
	run := &run{Controller: c, ks: ks, state: c.states.of(ks), revision: snapshot.Revision, origin: snapshot.Origin}
	run.begin()
	err = run.redact(run.do(ctx, snapshot.Tree))
	if err == nil {
		ks.Status.LastAppliedOriginRevision = snapshot.Origin
	}
	run.record(err)
	return run.spread(err)
}

// do carries a run through.
func (r *run) do(ctx context.Context, tree fs.FS) error {
	if err := r.connect(ctx, r.ks); err != nil {
		return retry(r.ks, meta.ReconciliationFailedReason, err)
	}
	var err error
	if r.client, err = r.Clients.For(r.account(r.ks)); err != nil {
		return retry(r.ks, meta.ReconciliationFailedReason, err)
	}
	r.ks.Status.LastAttemptedRevision = r.revision
	if err := r.claims.fill(ctx, r.Client); err != nil {
		return err
	}
	if err := r.render(ctx, tree); err != nil {
		return err
	}
	return r.sync(ctx)
}

// source returns the newest tree of the Kustomization's source. That of a
// source that fails at the moment is the last good one.
func (c *Controller) source(ks *kustomizev1.Kustomization) (source.Snapshot, error) {
	ref := ks.Spec.SourceRef
	namespace := ref.Namespace
	if namespace == "" {
		namespace = ks.Namespace
	}
	if err := c.References.Check("spec.sourceRef", ks.Namespace, namespace); err != nil {
		return source.Snapshot{}, reconciler.Final(meta.ArtifactFailedReason, err)
	}
	snapshot, ok := c.Sources.Get(ref.Kind, namespace, ref.Name)
	if !ok {
		return source.Snapshot{}, reconciler.Wait(meta.ArtifactFailedReason, 0,
			fmt.Errorf("source %s %s/%s %w: %s", ref.Kind, namespace, ref.Name, errNothing, c.Sources.Why(ref.Kind, namespace, ref.Name)))
	}
	if entries, err := fs.ReadDir(snapshot.Tree, "."); err == nil && len(entries) == 0 {
		return source.Snapshot{}, reconciler.Wait(meta.ArtifactFailedReason, 0,
			fmt.Errorf("source %s %s/%s is empty at revision %s: nothing was changed, and nothing is deleted", ref.Kind, namespace, ref.Name, snapshot.Revision))
	}
	return snapshot, nil
}

// keep leaves the status of a Kustomization alone that is Ready with its
// present spec, and whose source has nothing at the moment: after a restart,
// until the source is fetched, which one that is suspended may never be. An
// Event says so where the source says why.
func (c *Controller) keep(ks *kustomizev1.Kustomization, err error) error {
	ready := apimeta.FindStatusCondition(ks.Status.Conditions, meta.ReadyCondition)
	if ready == nil || ready.Status != metav1.ConditionTrue || ready.ObservedGeneration != ks.Generation || !errors.Is(err, errNothing) {
		return err
	}
	if at, ok := meta.ReconcileAnnotationValue(ks.GetAnnotations()); ok && at != ks.Status.LastHandledReconcileAt {
		return err // somebody asks
	}
	st := c.states.of(ks)
	if text := err.Error(); st.kept != text {
		st.kept = text
		c.Recorder.Eventf(ks, corev1.EventTypeWarning, meta.ArtifactFailedReason, "%s; what was applied at revision %s stays", text, ks.Status.LastAppliedRevision)
	}
	return reconciler.ErrPending
}

// errNothing says that a source has nothing to apply.
var errNothing = errors.New("has nothing to apply yet")

// every is when to look again after a success: at the interval, or earlier
// when an object that became unwell has had the time to recover, or one that
// is fought over has been left in peace for long enough.
func (c *Controller) every(ks *kustomizev1.Kustomization) time.Duration {
	next, st := ks.Spec.Interval.Duration, c.states.of(ks)
	if left := st.health.left(ks.GetTimeout()); left > 0 {
		next = min(next, left)
	}
	if st.blind {
		next = min(next, glance)
	}
	if left := st.truce(time.Now()); left > 0 { //nolint:forbidigo // the Loop has no clock of its own
		next = min(next, left)
	}
	return next
}

// retry is a failure that only a change, or time, can cure.
func retry(ks *kustomizev1.Kustomization, reason string, err error) error {
	return reconciler.Wait(reason, ks.GetRetryInterval(), err)
}

func (c *Controller) gone(key types.NamespacedName) {
	if id := c.states.forget(key); id != "" && !c.states.uses(id) {
		c.Clients.Disconnect(id)
	}
	c.claims.release(key, nil)
	_ = c.watcher.Require(key, nil) // requiring nothing cannot fail
}

// SetupWithManager registers c with mgr.
func (c *Controller) SetupWithManager(mgr ctrl.Manager) error {
	wake := newWakes()
	c.claims.notify = wake.notify
	c.watcher = &apply.Watcher{Clients: c.Clients, Notify: wake.notify}
	if err := mgr.Add(stopper(c.watcher.Stop)); err != nil {
		return fmt.Errorf("add watcher: %w", err)
	}
	if err := index(mgr); err != nil {
		return err
	}
	workers := c.Workers
	if workers == 0 {
		workers = 8
	}
	b := ctrl.NewControllerManagedBy(mgr).
		Named("kustomization").
		WithOptions(reconciler.Options(workers)).
		For(&kustomizev1.Kustomization{}, changedByUser()).
		WatchesRawSource(wake.source()).
		WatchesRawSource(c.Sources.Watch(c.usersOfSource)).
		Watches(&kustomizev1.Kustomization{}, c.dependents(byDependency), ready()).
		Watches(&kustomizev1.Kustomization{}, c.dependents(byReadyExpr), builder.WithPredicates(predicate.ResourceVersionChangedPredicate{})).
		WatchesMetadata(&corev1.ConfigMap{}, c.usersOf("ConfigMap")).
		WatchesMetadata(&corev1.Secret{}, c.usersOf("Secret"))
	return b.Complete(c.loop())
}

// stopper stops something when the manager stops.
type stopper func()

func (s stopper) Start(ctx context.Context) error {
	<-ctx.Done()
	s()
	return nil
}
