package kustomization

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/fluxcd/cli-utils/pkg/object"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/reconciler/plan"
)

// reasonClaimed is the condition reason of an object that another
// Kustomization applies already.
const reasonClaimed = "ObjectClaimed"

// claims knows which Kustomization applies which object, so that no two fight
// over one. It is filled from the inventories once, and kept from then on.
type claims struct {
	mu      sync.Mutex
	filled  bool
	holders map[claim]types.NamespacedName
	refused map[types.NamespacedName]bool
	notify  func(types.NamespacedName)
}

// claim is one object of one cluster; the empty cluster is our own.
type claim struct {
	cluster string
	id      object.ObjMetadata
}

// clusterOf names the cluster that a Kustomization applies to.
func clusterOf(ks *kustomizev1.Kustomization) string {
	if ks.Spec.KubeConfig == nil {
		return ""
	}
	from, err := connectionOf(ks)
	if err != nil {
		return "" // its run says so, and applies nothing
	}
	return from.kind + "/" + from.namespace + "/" + from.name + "/" + from.key
}

// fill takes what the inventories say. Of two that have the same object, the
// older Kustomization holds it.
func (c *claims) fill(ctx context.Context, reader client.Reader) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.filled {
		return nil
	}
	var list kustomizev1.KustomizationList
	if err := reader.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list Kustomizations: %w", err)
	}
	c.holders, c.refused = map[claim]types.NamespacedName{}, map[types.NamespacedName]bool{}
	slices.SortFunc(list.Items, func(a, b kustomizev1.Kustomization) int {
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	})
	for i := range list.Items {
		ks := &list.Items[i]
		entries, err := readInventory(ks)
		if err != nil {
			continue // its own run says so
		}
		for _, e := range entries {
			at := claim{clusterOf(ks), e.ID}
			if _, held := c.holders[at]; !held {
				c.holders[at] = key(ks)
			}
		}
	}
	c.filled = true
	return nil
}

// take claims the objects for ks: all of them, or none and an error that names
// the first that is another's, and that other.
func (c *claims) take(ks *kustomizev1.Kustomization, objects []plan.Object) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	cluster, me := clusterOf(ks), key(ks)
	for _, o := range objects {
		if holder, held := c.holders[claim{cluster, o.ID}]; held && holder != me && !o.Skip {
			c.refused[me] = true
			return fmt.Errorf("%s belongs to Kustomization %s already, and cannot belong to %s too: remove it from one of them; nothing was changed", o.ID, holder, me)
		}
	}
	for _, o := range objects {
		if !o.Skip {
			c.holders[claim{cluster, o.ID}] = me
		}
	}
	return nil
}

// release gives up all claims of owner but those that are kept, and wakes who
// was refused.
func (c *claims) release(owner types.NamespacedName, kept []plan.Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	keep := map[object.ObjMetadata]bool{}
	for _, e := range kept {
		keep[e.ID] = true
	}
	before := len(c.holders)
	maps.DeleteFunc(c.holders, func(at claim, holder types.NamespacedName) bool { return holder == owner && !keep[at.id] })
	if len(c.holders) == before {
		return
	}
	for waiting := range c.refused {
		c.notify(waiting)
	}
	clear(c.refused)
}
