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

// maxInventory bounds the inventory in bytes of JSON: etcd takes 1.5 MiB for
// an object, and the rest of this one has to fit too. Source:
// https://etcd.io/docs/v3.5/dev-guide/limit/
const maxInventory = 1200 << 10

// fits refuses an inventory that the API server could not store, before
// anything is applied that nobody would remember.
func fits(entries []plan.Entry) error {
	size := 0
	for _, e := range entries {
		size += len(`{"id":"","v":""},`) + len(e.ID.String()) + len(e.Version)
	}
	if size <= maxInventory {
		return nil
	}
	return fmt.Errorf("the inventory of %d objects takes %d KiB, and the status of a Kustomization holds %d: split the path into several Kustomizations; nothing was changed", len(entries), size>>10, maxInventory>>10)
}

func writeInventory(ks *kustomizev1.Kustomization, entries []plan.Entry) {
	refs := make([]kustomizev1.ResourceRef, 0, len(entries))
	for _, e := range entries {
		refs = append(refs, kustomizev1.ResourceRef{ID: e.ID.String(), Version: e.Version})
	}
	ks.Status.Inventory = &kustomizev1.ResourceInventory{Entries: refs}
}

func key(ks *kustomizev1.Kustomization) types.NamespacedName { return client.ObjectKeyFromObject(ks) }
