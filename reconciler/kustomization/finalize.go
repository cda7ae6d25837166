package kustomization

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fluxcd/cli-utils/pkg/object"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/lockstep-dev/lockstep/reconciler"
	"github.com/lockstep-dev/lockstep/reconciler/apply"
	"github.com/lockstep-dev/lockstep/reconciler/plan"
)

// lookAgain is when to see whether objects that are being deleted are gone,
// where no watch tells so.
const lookAgain = 2 * time.Second

// finalize deletes what a Kustomization applied, unless its policy is to leave
// it behind. A suspended one leaves everything, as in Flux.
func (c *Controller) finalize(ctx context.Context, ks *kustomizev1.Kustomization) error {
	policy := ks.GetDeletionPolicy()
	orphan := policy == kustomizev1.DeletionPolicyOrphan || policy == kustomizev1.DeletionPolicyMirrorPrune && !ks.Spec.Prune
	if ks.Spec.Suspend || orphan {
		return nil
	}
	entries, err := readInventory(ks)
	if err != nil || len(entries) == 0 {
		return err
	}
	if err := c.connect(ctx, ks); apierrors.IsNotFound(err) {
		c.leave(ks, err) // the way to the other cluster is gone for good
		return nil
	} else if err != nil {
		return err
	}
	r := &run{Controller: c, ks: ks, state: c.states.of(ks)}
	if r.client, err = c.Clients.For(c.account(ks)); err != nil {
		return err
	}
	if policy != kustomizev1.DeletionPolicyWaitForTermination {
		// Before the objects go, as their watches would start a run for each.
		if err := c.watcher.Require(key(ks), nil); err != nil {
			return err
		}
	}
	_, going, err := r.delete(ctx, plan.Reverse(entries))
	if err != nil {
		return r.undeleted(ctx, err)
	}
	if policy == kustomizev1.DeletionPolicyWaitForTermination && going > 0 {
		return r.terminating(going)
	}
	return nil
}

// terminating waits for objects that are on their way out, until the timeout.
func (r *run) terminating(going int) error {
	left := time.Until(r.ks.DeletionTimestamp.Add(r.ks.GetTimeout()))
	if left <= 0 {
		r.Recorder.Eventf(r.ks, corev1.EventTypeWarning, meta.PruneFailedReason, "%d objects are still not gone after %s: waited no longer", going, r.ks.GetTimeout())
		return nil
	}
	return reconciler.Progressing(meta.ProgressingReason, min(lookAgain, left), errors.New("waiting for the deleted objects to be gone"))
}

// undeleted decides what becomes of a deletion that failed.
func (r *run) undeleted(ctx context.Context, err error) error {
	if !apierrors.IsForbidden(err) {
		return reconciler.Temporary(meta.PruneFailedReason, r.redact(err))
	}
	err = r.redact(err)
	if gone, gerr := r.accountGone(ctx); gerr != nil || !gone {
		return fmt.Errorf("%w: give the account the right, or set spec.deletionPolicy: %s to leave the objects behind", err, kustomizev1.DeletionPolicyOrphan)
	}
	// Nobody is left who could delete them: a namespace that goes as a whole
	// takes its accounts first, and must not hang on this.
	r.leave(r.ks, err)
	return nil
}

// leave tells that objects stay behind.
func (c *Controller) leave(ks *kustomizev1.Kustomization, err error) {
	c.Recorder.Eventf(ks, corev1.EventTypeWarning, meta.PruneFailedReason, "nobody is left who may delete the objects, so they stay: %v", err)
}

// accountGone reports whether the account that applied no longer exists.
func (r *run) accountGone(ctx context.Context) (bool, error) {
	account := r.account(r.ks)
	if account.Name == "" {
		return false, nil
	}
	self, err := r.Clients.For(apply.Account{Cluster: account.Cluster})
	if err != nil {
		return false, err
	}
	exists, err := self.Exists(ctx, object.ObjMetadata{Namespace: account.Namespace, Name: account.Name, GroupKind: schema.GroupKind{Kind: "ServiceAccount"}}, "v1")
	return !exists, err
}

// delete removes objects, stage after stage, as far as they are still the
// Kustomization's. left are those that could not be deleted, whose errors do
// not keep the others; going is how many were there.
func (r *run) delete(ctx context.Context, entries []plan.Entry) (left []plan.Entry, going int, err error) {
	var (
		mu   sync.Mutex
		errs []error
	)
	for len(entries) > 0 {
		var group errgroup.Group
		group.SetLimit(parallel)
		stage := plan.Stage(entries[0].ID)
		for len(entries) > 0 && plan.Stage(entries[0].ID) == stage {
			e := entries[0]
			entries = entries[1:]
			group.Go(func() error {
				deleted, err := r.client.Delete(ctx, e.ID, e.Version, func(live metav1.Object) bool { return mine(r.ks, live) })
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					left, errs = append(left, e), append(errs, fmt.Errorf("delete %s: %w", e.ID, err))
					return nil
				}
				delete(r.state.applied, e.ID)
				if deleted {
					going++
					r.state.attempt.changed = true
					ctrl.LoggerFrom(ctx).Info("deleted", "object", e.ID.String(), "revision", r.revision)
				}
				return nil
			})
		}
		_ = group.Wait() // the functions return none
	}
	return left, going, first(errs)
}

// mine reports whether a live object is still the Kustomization's to delete.
func mine(ks *kustomizev1.Kustomization, live metav1.Object) bool {
	labels := live.GetLabels()
	return !apply.Kept(live) && labels[apply.OwnerName] == ks.Name && labels[apply.OwnerNamespace] == ks.Namespace
}
