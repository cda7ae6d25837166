package kustomization

import (
	"context"
	"fmt"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-dev/lockstep/reconciler"
)

// dependencies waits until all that ks depends on is Ready, and, where it
// comes from the same source, Ready with what the source holds now. A
// readyExpr stands in place of both.
func (c *Controller) dependencies(ctx context.Context, ks *kustomizev1.Kustomization) error {
	for i, ref := range ks.GetDependsOn() {
		key := types.NamespacedName{Namespace: or(ref.Namespace, ks.Namespace), Name: ref.Name}
		if err := c.References.Check(fmt.Sprintf("spec.dependsOn[%d]", i), ks.Namespace, key.Namespace); err != nil {
			return reconciler.Final(meta.DependencyNotReadyReason, err)
		}
		dep := &kustomizev1.Kustomization{}
		err := c.Client.Get(ctx, key, dep)
		if apierrors.IsNotFound(err) {
			return reconciler.Wait(meta.DependencyNotReadyReason, 0, fmt.Errorf("dependency %s does not exist: create it, or remove it from spec.dependsOn", key))
		}
		if err != nil {
			return fmt.Errorf("read dependency %s: %w", key, err)
		}
		if why := c.notReady(ks, dep, i); why != "" {
			return reconciler.Wait(meta.DependencyNotReadyReason, 0, fmt.Errorf("dependency %s %s", key, why))
		}
	}
	return nil
}

// notReady says why the dependency i is not there yet, or "".
func (c *Controller) notReady(ks, dep *kustomizev1.Kustomization, i int) string {
	expr := c.states.of(ks).compiled.ready[i]
	if expr == nil {
		return c.pending(ks, dep)
	}
	holds, err := readyBy(expr, ks, dep)
	switch {
	case err != nil:
		return "is not ready: readyExpr " + err.Error()
	case !holds:
		return "is not ready according to readyExpr"
	default:
		return ""
	}
}

// pending says why dep is not there yet, or "".
func (c *Controller) pending(ks, dep *kustomizev1.Kustomization) string {
	ready := apimeta.FindStatusCondition(dep.Status.Conditions, meta.ReadyCondition)
	if ready == nil || dep.Status.ObservedGeneration != dep.Generation || ready.Status != "True" {
		return "is not ready"
	}
	if !sameSource(ks, dep) {
		return ""
	}
	snapshot, err := c.source(dep)
	if err == nil && snapshot.Revision != dep.Status.LastAppliedRevision {
		return "is not at revision " + snapshot.Revision + " yet"
	}
	return ""
}

func sameSource(a, b *kustomizev1.Kustomization) bool {
	ra, rb := a.Spec.SourceRef, b.Spec.SourceRef
	if ra.Namespace == "" {
		ra.Namespace = a.Namespace
	}
	if rb.Namespace == "" {
		rb.Namespace = b.Namespace
	}
	return ra.Kind == rb.Kind && ra.Namespace == rb.Namespace && ra.Name == rb.Name
}
