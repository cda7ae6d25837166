package kustomization

import (
	"context"
	"fmt"
	"slices"

	"github.com/fluxcd/cli-utils/pkg/object"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/reconciler/apply"
	"github.com/lockstep-dev/lockstep/reconciler/plan"
)

// readInventory returns what the status says was applied.
func readInventory(ks *kustomizev1.Kustomization) ([]plan.Entry, error) {
	if ks.Status.Inventory == nil {
		return nil, nil
	}
	entries := make([]plan.Entry, 0, len(ks.Status.Inventory.Entries))
	for i, e := range ks.Status.Inventory.Entries {
		id, err := object.ParseObjMetadata(e.ID)
		if err != nil {
			return nil, fmt.Errorf("status.inventory.entries[%d]: %w", i, err)
		}
		entries = append(entries, plan.Entry{ID: id, Version: e.Version})
	}
	return entries, nil
}

func writeInventory(ks *kustomizev1.Kustomization, entries []plan.Entry) {
	refs := make([]kustomizev1.ResourceRef, 0, len(entries))
	for _, e := range entries {
		refs = append(refs, kustomizev1.ResourceRef{ID: e.ID.String(), Version: e.Version})
	}
	ks.Status.Inventory = &kustomizev1.ResourceInventory{Entries: refs}
}

func key(ks *kustomizev1.Kustomization) types.NamespacedName { return client.ObjectKeyFromObject(ks) }

// finalize deletes what a Kustomization applied, unless its policy is to leave
// it behind. A suspended one leaves everything, as in Flux.
func (c *Controller) finalize(ctx context.Context, ks *kustomizev1.Kustomization) error {
	policy := ks.GetDeletionPolicy()
	orphan := policy == kustomizev1.DeletionPolicyOrphan || policy == kustomizev1.DeletionPolicyMirrorPrune && !ks.Spec.Prune
	if ks.Spec.Suspend || orphan {
		return nil
	}
	entries, err := readInventory(ks)
	if err != nil {
		return err
	}
	r := &run{Controller: c, ks: ks, state: c.states.of(ks)}
	if r.client, err = c.Clients.For(c.account(ks)); err != nil {
		return err
	}
	// Before the objects go: their watches would call it drift.
	if err := c.watcher.Require(key(ks), nil); err != nil {
		return err
	}
	slices.SortStableFunc(entries, func(a, b plan.Entry) int { return plan.Stage(b.ID) - plan.Stage(a.ID) })
	err = r.prune(ctx, entries)
	if err == nil || !apierrors.IsForbidden(err) {
		return err
	}
	if gone, gerr := c.accountGone(ctx, ks); gerr != nil || !gone {
		return fmt.Errorf("%w: give the account the right, or set spec.deletionPolicy: %s to leave the objects behind", err, kustomizev1.DeletionPolicyOrphan)
	}
	// Nobody is left who could delete them: a namespace that goes as a whole
	// takes its accounts first, and must not hang on this.
	c.Recorder.Eventf(ks, corev1.EventTypeWarning, meta.PruneFailedReason, "ServiceAccount %s/%s no longer exists: left behind what it may not delete: %v", c.account(ks).Namespace, c.account(ks).Name, err)
	return nil
}

// accountGone reports whether the account that applied no longer exists.
func (c *Controller) accountGone(ctx context.Context, ks *kustomizev1.Kustomization) (bool, error) {
	account := c.account(ks)
	if account == (apply.Account{}) {
		return false, nil
	}
	self, err := c.Clients.For(apply.Account{})
	if err != nil {
		return false, err
	}
	exists, err := self.Exists(ctx, object.ObjMetadata{Namespace: account.Namespace, Name: account.Name, GroupKind: schema.GroupKind{Kind: "ServiceAccount"}}, "v1")
	return !exists, err
}
