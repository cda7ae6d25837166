package pull

import (
	"context"
	"slices"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
)

// credentials wakes the ExternalSecrets that failed and whose stores or
// generators refer to an object that has changed. A store that becomes ready
// wakes them too, but one that says nothing of its credentials is ready with
// any: whether AWS takes a key, or Vault a token, shows when something is read.
func (c *Controller) credentials(kind string) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
		uses, err := c.Stores.Using(ctx, kind, client.ObjectKeyFromObject(o))
		if err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "find the stores that refer to an object")
			return nil
		}
		requests := c.failed(ctx, bySource, o.GetNamespace(), func(es *esv1.ExternalSecret) bool {
			return slices.ContainsFunc(fetch.Generators(&es.Spec), func(ref esv1.GeneratorRef) bool {
				return c.Makers.Refers(ctx, es.Namespace, ref, kind, o.GetName())
			})
		})
		for _, use := range uses {
			requests = append(requests, c.failed(ctx, byStore, storeKey(use.Kind, use.Namespace, use.Name), func(es *esv1.ExternalSecret) bool {
				return use.Only == "" || use.Only == es.Namespace
			})...)
		}
		return requests
	})
}

// failed returns the ExternalSecrets that are not ready, of those that a field
// and pick choose.
func (c *Controller) failed(ctx context.Context, field, value string, pick func(*esv1.ExternalSecret) bool) (requests []reconcile.Request) {
	var list esv1.ExternalSecretList
	if err := c.Client.List(ctx, &list, client.MatchingFields{field: value}, client.UnsafeDisableDeepCopy); err != nil { // they are only looked at
		ctrl.LoggerFrom(ctx).Error(err, "list ExternalSecrets", "field", field, "value", value)
		return nil
	}
	for i := range list.Items {
		if es := &list.Items[i]; !ready(es) && pick(es) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(es)})
		}
	}
	return requests
}
