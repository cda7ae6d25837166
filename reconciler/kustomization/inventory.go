package kustomization

import (
	"fmt"

	"github.com/fluxcd/cli-utils/pkg/object"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

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
