package kustomization

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fluxcd/cli-utils/pkg/object"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/lockstep-dev/lockstep/reconciler"
	"github.com/lockstep-dev/lockstep/reconciler/apply"
	"github.com/lockstep-dev/lockstep/reconciler/health"
	"github.com/lockstep-dev/lockstep/reconciler/plan"
	"github.com/lockstep-dev/lockstep/reconciler/render"
)

// parallel is how many objects of one stage are applied at once. The API
// server of a small cluster answers about 8 at a time without queueing.
const parallel = 8

// soon brings a run back at once, after the loop has written the status.
const soon = time.Millisecond

// sync makes the cluster what was rendered.
func (r *run) sync(ctx context.Context) error {
	objects := r.state.rendered.objects
	inventory, err := readInventory(r.ks)
	if err != nil {
		return reconciler.Final(meta.ReconciliationFailedReason, err)
	}
	p := plan.Compute(plan.Input{Desired: objects, Inventory: inventory, Applied: r.known(objects), Prune: r.ks.Spec.Prune})

	// The inventory is stored before the first object of it is applied, so
	// that nothing is forgotten whenever this process ends. The status has one
	// writer, the loop: so this run ends here, and the next one applies.
	if len(p.Stages) > 0 && !slices.Equal(p.Before, inventory) {
		writeInventory(r.ks, p.Before)
		return r.progressing(soon)
	}
	if err := r.watch(objects); err != nil {
		return r.failed(err)
	}
	if err := r.stages(ctx, p.Stages); err != nil {
		return err
	}
	if err := r.prune(ctx, p.Prune); err != nil {
		return err
	}
	writeInventory(r.ks, p.After)
	r.forget(p.After)
	return r.healthy(objects)
}

func (r *run) progressing(after time.Duration) error {
	return reconciler.Progressing(meta.ProgressingReason, after, fmt.Errorf("Applying revision %s", r.revision)) //nolint:staticcheck // ST1005: shown as Flux's client shows its own
}

// known compares what was applied with what the watches see now.
func (r *run) known(objects []plan.Object) map[object.ObjMetadata]plan.State {
	known := make(map[object.ObjMetadata]plan.State, len(objects))
	for _, o := range objects {
		was, ok := r.state.applied[o.ID]
		if !ok {
			continue
		}
		live, there := r.watcher.Get(r.target(r.ks, o), o.ID)
		known[o.ID] = plan.State{Hash: was.hash, Drifted: !there || live.UID != was.uid || live.Owned != was.owned}
	}
	return known
}

// watch requires the watches that see the objects and what else spec.healthChecks
// names. Kinds that are not served yet are watched when they are applied.
func (r *run) watch(objects []plan.Object) error {
	seen := map[apply.Target]bool{}
	var targets []apply.Target
	need := func(t apply.Target) {
		if _, _, err := r.client.Resource(t.Kind.GroupKind(), t.Kind.Version); err == nil && !seen[t] {
			seen[t] = true
			targets = append(targets, t)
		}
	}
	for _, o := range objects {
		need(r.target(r.ks, o))
	}
	for _, c := range r.checks(objects) {
		need(c.target)
	}
	return r.watcher.Require(key(r.ks), targets)
}

// stages applies, stage after stage; a stage that fails stops those behind it.
func (r *run) stages(ctx context.Context, stages [][]plan.Action) error {
	for _, stage := range stages {
		if plan.Stage(stage[0].ID) > 0 {
			if err := r.established(); err != nil {
				return err
			}
		}
		if err := r.stage(ctx, stage); err != nil {
			return r.failed(err)
		}
	}
	return nil
}

// established waits until the API server serves the kinds that are defined
// among the objects.
func (r *run) established() error {
	for _, o := range r.state.rendered.objects {
		if o.ID.GroupKind.Kind != "CustomResourceDefinition" {
			continue
		}
		if live, ok := r.watcher.Get(r.target(r.ks, o), o.ID); !ok || live.Health.Status != health.Current {
			return reconciler.Progressing(meta.ProgressingReason, r.ks.GetTimeout(), fmt.Errorf("%s is not established yet", render.Name(o.Desired)))
		}
	}
	return nil
}

func (r *run) stage(ctx context.Context, actions []plan.Action) error {
	var (
		mu     sync.Mutex
		failed []error
		group  errgroup.Group
	)
	group.SetLimit(parallel)
	for _, a := range actions {
		group.Go(func() error {
			is, err := r.applyOne(ctx, a)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = append(failed, fmt.Errorf("%s: %w", render.Name(a.Desired), err))
				return nil
			}
			r.state.applied[a.ID] = is
			return nil
		})
	}
	_ = group.Wait() // the functions return none
	return first(failed)
}

func (r *run) applyOne(ctx context.Context, a plan.Action) (applied, error) {
	live, err := r.client.Apply(ctx, a.Desired)
	if err != nil {
		return applied{}, err
	}
	ctrl.LoggerFrom(ctx).Info("applied", "object", render.Name(a.Desired), "why", a.Why, "revision", r.revision)
	if a.Why == plan.Drifted {
		r.Recorder.Eventf(r.ks, corev1.EventTypeNormal, "DriftCorrected", "%s was changed or deleted by someone else: put back as in revision %s", render.Name(a.Desired), r.revision)
	}
	seen := r.watcher.Saw(r.target(r.ks, a.Object), live)
	return applied{hash: a.Hash, uid: seen.UID, owned: seen.Owned}, nil
}

// first returns the first of several errors, by text so that the same failures
// give the same message, and how many there are besides.
func first(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	slices.SortFunc(errs, compareText)
	if len(errs) == 1 {
		return errs[0]
	}
	return fmt.Errorf("%w (and %d more objects)", errs[0], len(errs)-1)
}

func compareText(a, b error) int {
	switch ta, tb := a.Error(), b.Error(); {
	case ta < tb:
		return -1
	case ta > tb:
		return 1
	default:
		return 0
	}
}

// failed classifies an error of the API server: one that says no will say so
// again, until something is changed; any other may pass.
func (r *run) failed(err error) error {
	refused := apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsBadRequest(err) ||
		apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) || errors.Is(err, apply.ErrNoKind)
	if refused {
		return retry(r.ks, meta.ReconciliationFailedReason, err)
	}
	return reconciler.Temporary(meta.ReconciliationFailedReason, err)
}

// prune deletes what no longer belongs to the Kustomization.
func (r *run) prune(ctx context.Context, entries []plan.Entry) error {
	for _, e := range entries {
		if err := r.delete(ctx, e); err != nil {
			return reconciler.Temporary(meta.PruneFailedReason, fmt.Errorf("delete %s: %w", e.ID, err))
		}
	}
	return nil
}

func (r *run) delete(ctx context.Context, e plan.Entry) error {
	deleted, err := r.client.Delete(ctx, e.ID, e.Version, func(live metav1.Object) bool { return mayDelete(r.ks, live) })
	if deleted {
		ctrl.LoggerFrom(ctx).Info("deleted", "object", e.ID.String(), "revision", r.revision)
	}
	delete(r.state.applied, e.ID)
	return err
}

// keep are the labels or annotations that save an object from being pruned.
var keep = map[string]string{
	"kustomize.toolkit.fluxcd.io/prune":     kustomizev1.DisabledValue,
	"kustomize.toolkit.fluxcd.io/reconcile": kustomizev1.DisabledValue,
	"kustomize.toolkit.fluxcd.io/ssa":       kustomizev1.IgnoreValue,
}

// mayDelete reports whether a live object is still the Kustomization's.
func mayDelete(ks *kustomizev1.Kustomization, live metav1.Object) bool {
	labels, annotations := live.GetLabels(), live.GetAnnotations()
	for k, v := range keep {
		if labels[k] == v || annotations[k] == v {
			return false
		}
	}
	return labels[apply.OwnerName] == ks.Name && labels[apply.OwnerNamespace] == ks.Namespace
}

// forget drops what is remembered of objects that are no longer there.
func (r *run) forget(left []plan.Entry) {
	there := map[object.ObjMetadata]bool{}
	for _, e := range left {
		there[e.ID] = true
	}
	for id := range r.state.applied {
		if !there[id] {
			delete(r.state.applied, id)
		}
	}
}
