package source

import (
	"context"
	"fmt"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// bySecret indexes GitRepositories by the names of their Secrets.
const bySecret = "lockstep.bySecret" //nolint:gosec // G101: the name of an index

func index(mgr ctrl.Manager) error {
	err := mgr.GetFieldIndexer().IndexField(context.Background(), &sourcev1.GitRepository{}, bySecret, //nolint:forbidigo // set-up, before there is a context
		func(o client.Object) []string {
			spec := o.(*sourcev1.GitRepository).Spec
			var names []string
			for _, ref := range []*meta.LocalObjectReference{spec.SecretRef, spec.ProxySecretRef} {
				if ref != nil {
					names = append(names, ref.Name)
				}
			}
			if spec.Verification != nil {
				names = append(names, spec.Verification.SecretRef.Name)
			}
			return names
		})
	if err != nil {
		return fmt.Errorf("index %s: %w", bySecret, err)
	}
	return nil
}

// usersOfSecret wakes the repositories whose credentials have changed.
func (c *Controller) usersOfSecret() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
		var list sourcev1.GitRepositoryList
		if err := c.Client.List(ctx, &list, client.InNamespace(o.GetNamespace()), client.MatchingFields{bySecret: o.GetName()}); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "list repositories by Secret", "secret", o.GetName())
			return nil
		}
		requests := make([]reconcile.Request, 0, len(list.Items))
		for i := range list.Items {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
		return requests
	})
}
