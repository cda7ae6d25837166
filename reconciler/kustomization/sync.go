package kustomization

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fluxcd/cli-utils/pkg/object"
	"github.com/fluxcd/pkg/apis/meta"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lockstep-dev/lockstep/reconciler"
	"github.com/lockstep-dev/lockstep/reconciler/apply"
	"github.com/lockstep-dev/lockstep/reconciler/plan"
)

// soon brings a run back at once, after the loop has written the status.
const soon = time.Millisecond

// sync makes the cluster what was rendered.
func (r *run) sync(ctx context.Context) error {
	inventory, err := readInventory(r.ks)
	if err != nil {
		return reconciler.Final(meta.ReconciliationFailedReason, err)
	}
	if err := r.claims.take(r.ks, r.state.rendered.objects); err != nil {
		return retry(r.ks, reasonClaimed, err)
	}
	objects, known := r.known(r.state.rendered.objects)
	p := plan.Compute(plan.Input{Desired: objects, Inventory: inventory, Applied: known, Prune: r.ks.Spec.Prune, AllowMass: r.mayPruneAll()})

	// The inventory is stored before the first object of it is applied, so
	// that nothing is forgotten whenever this process ends. The status has one
	// writer, the loop: so this run ends here, and the next one applies.
	if len(p.Stages) > 0 && !slices.Equal(p.Before, inventory) {
		if err := fits(p.Before); err != nil {
			return retry(r.ks, meta.ReconciliationFailedReason, err)
		}
		writeInventory(r.ks, p.Before)
		return r.progressing(objects, soon)
	}
	if err := r.watch(objects); err != nil {
		return r.failed(err)
	}
	if err := r.stages(ctx, p.Stages); err != nil {
		return err
	}
	if r.state.blind {
		// A kind that has been served since: without a watch nobody would tell
		// of its objects.
		if err := r.watch(objects); err != nil {
			return r.failed(err)
		}
	}
	r.state.attempt.waiting = time.Time{}
	if err := r.prune(ctx, p); err != nil {
		return err
	}
	return r.healthy(objects)
}

// prune deletes what is gone from the source, and stores what is left. What
// could not be deleted stays in the inventory.
func (r *run) prune(ctx context.Context, p plan.Plan) error {
	left, _, err := r.delete(ctx, p.Prune)
	after := plan.Merge(p.After, left)
	writeInventory(r.ks, after)
	r.forget(after)
	if len(after) < len(p.Before) {
		r.claims.release(key(r.ks), after)
	}
	if err != nil {
		return reconciler.Temporary(meta.PruneFailedReason, err)
	}
	if n := len(p.Held); n > 0 {
		err := fmt.Errorf("%d of the %d objects that were applied are gone from revision %s, among them %s: nothing is deleted, as it looks like a mistake; if it is none, annotate the Kustomization with %s=%s",
			n, len(p.After), r.revision, p.Held[0].ID, allowPrune, r.revision)
		return reconciler.Wait(reasonPruneHeld, 0, err)
	}
	return nil
}

// reasonPruneHeld is the condition reason of a deletion that the prune guard
// keeps back.
const reasonPruneHeld = "PruneHeld"

// progressing says that objects are being applied, and waited for where the
// spec asks for that. It says the same from the first object to the last
// health check, so that a revision takes two writes of the status: before the
// first object, and when all is done.
func (r *run) progressing(objects []plan.Object, after time.Duration) error {
	message := "Applying revision " + r.revision
	if len(r.checks(objects)) > 0 {
		message = fmt.Sprintf("Applying revision %s, then running health checks with a timeout of %s", r.revision, r.ks.GetTimeout())
		r.condition(metav1.ConditionUnknown, meta.ProgressingReason, message)
	}
	return reconciler.Progressing(meta.ProgressingReason, after, errors.New(message))
}

// known compares what was applied with what the watches see now, and marks
// the objects that ask to be left alone.
func (r *run) known(objects []plan.Object) ([]plan.Object, map[object.ObjMetadata]plan.State) {
	objects, known := slices.Clone(objects), make(map[object.ObjMetadata]plan.State, len(objects))
	now := time.Now() //nolint:forbidigo // the Loop has no clock of its own
	for i, o := range objects {
		live, there := r.watcher.Get(r.target(r.ks, o), o.ID)
		if there && live.Mode == apply.Ignore {
			objects[i].Skip = true
		}
		was, ok := r.state.applied[o.ID]
		if !ok {
			continue
		}
		if there && !was.seen {
			was.seen = true
			r.state.applied[o.ID] = was
		}
		known[o.ID] = plan.State{Hash: was.hash, Drifted: was.drifted(live, there) && !now.Before(was.fight.until)}
	}
	return objects, known
}

// drifted reports whether an object is no longer as it was applied. One that
// was left as it was can only be gone.
func (a applied) drifted(live apply.Observed, there bool) bool {
	if a.skipped {
		return a.seen && !there
	}
	return !there || live.UID != a.uid || live.Owned != a.owned || live.Foreign && live.Mode != apply.Merge
}

// watch requires the watches that see the objects and what else spec.healthChecks
// names. A kind that is not served, yet or at the moment, cannot be watched
// anew: the run is blind for it, and comes back by itself.
func (r *run) watch(objects []plan.Object) error {
	seen := map[apply.Target]bool{}
	var targets []apply.Target
	r.state.blind = false
	need := func(t apply.Target) {
		if seen[t] {
			return
		}
		seen[t] = true
		_, _, err := r.client.Resource(t.Kind.GroupKind(), t.Kind.Version)
		if err == nil || errors.Is(err, apply.ErrUnserved) && r.watcher.Watches(t) {
			targets = append(targets, t)
			return
		}
		r.state.blind = true
	}
	for _, o := range objects {
		need(r.target(r.ks, o))
	}
	for _, c := range r.checks(objects) {
		need(c.target)
	}
	return r.watcher.Require(key(r.ks), targets)
}

// glance is when a run looks again that has objects which nothing watches.
const glance = 5 * time.Second

// failed classifies an error of the API server: one that says no will say so
// again, until something is changed; any other may pass.
func (r *run) failed(err error) error {
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return retry(r.ks, meta.ReconciliationFailedReason, fmt.Errorf("%w: its namespace is being deleted; when that is gone, it is applied again", err))
	}
	refused := apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsBadRequest(err) ||
		apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) || errors.Is(err, apply.ErrNoKind)
	if refused {
		return retry(r.ks, meta.ReconciliationFailedReason, r.unentitled(err))
	}
	return reconciler.Temporary(meta.ReconciliationFailedReason, err)
}

// forget drops what is remembered of objects that are no longer there.
func (r *run) forget(left []plan.Entry) {
	there := map[object.ObjMetadata]bool{}
	for _, e := range left {
		there[e.ID] = true
	}
	maps.DeleteFunc(r.state.applied, func(id object.ObjMetadata, _ applied) bool { return !there[id] })
}
