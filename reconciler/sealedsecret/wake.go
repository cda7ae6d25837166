package sealedsecret

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/reconciler"
)

// newKeys wakes the SealedSecrets that have not been opened, and those whose key
// was retired or taken back, when the sealing keys change.
func (c *Controller) newKeys() source.Source {
	return source.Func(func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		changed := c.Keys.Changed()
		go func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-changed:
				}
				changed = c.Keys.Changed() // before the list, so that no change falls between
				c.enqueueUnopened(ctx, queue)
			}
		}()
		return nil
	})
}

func (c *Controller) enqueueUnopened(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
	var all bitnamiv1alpha1.SealedSecretList
	if err := c.Client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list SealedSecrets after a change of the sealing keys")
		return
	}
	for i := range all.Items {
		ss := &all.Items[i]
		if ss.Status.ObservedGeneration == ss.Generation && meta.IsStatusConditionPresentAndEqual(ss.GetConditions(), reconciler.Ready, metav1.ConditionTrue) {
			if is, _ := c.sealedWithRetired(ss); is == meta.IsStatusConditionTrue(ss.GetConditions(), bitnamiv1alpha1.SealedWithRetiredKey) {
				continue
			}
		}
		queue.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(ss)})
	}
}
