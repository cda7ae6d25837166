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

// Field indexes of GitRepositories, by names in their own namespace.
const (
	bySecret  = "lockstep.bySecret"  //nolint:gosec // G101: the name of an index: of the Secrets that they use
	byInclude = "lockstep.byInclude" // of the repositories that they include
)

func index(mgr ctrl.Manager) error {
	for field, names := range map[string]func(sourcev1.GitRepositorySpec) []string{bySecret: secrets, byInclude: includes} {
		err := mgr.GetFieldIndexer().IndexField(context.Background(), &sourcev1.GitRepository{}, field, //nolint:forbidigo // set-up, before there is a context
			func(o client.Object) []string { return names(o.(*sourcev1.GitRepository).Spec) })
		if err != nil {
			return fmt.Errorf("index %s: %w", field, err)
		}
	}
	return nil
}

func secrets(spec sourcev1.GitRepositorySpec) (names []string) {
	for _, ref := range []*meta.LocalObjectReference{spec.SecretRef, spec.ProxySecretRef} {
		if ref != nil {
			names = append(names, ref.Name)
		}
	}
	if spec.Verification != nil {
		names = append(names, spec.Verification.SecretRef.Name)
	}
	return names
}

func includes(spec sourcev1.GitRepositorySpec) (names []string) {
	for _, inc := range spec.Include {
		names = append(names, inc.GitRepositoryRef.Name)
	}
	return names
}

// usersOfSecret wakes the repositories whose credentials have changed.
func (c *Controller) usersOfSecret() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
		return c.users(ctx, bySecret, o.GetNamespace(), o.GetName())
	})
}

// includers wakes the repositories that include one with new content.
func (c *Controller) includers(ctx context.Context, kind, namespace, name string) (now, later []reconcile.Request) {
	if kind != sourcev1.GitRepositoryKind {
		return nil, nil
	}
	return c.users(ctx, byInclude, namespace, name), nil
}

func (c *Controller) users(ctx context.Context, field, namespace, name string) []reconcile.Request {
	var list sourcev1.GitRepositoryList
	if err := c.Client.List(ctx, &list, client.InNamespace(namespace), client.MatchingFields{field: name}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list repositories", "field", field, "name", name)
		return nil
	}
	requests := make([]reconcile.Request, 0, len(list.Items))
	for i := range list.Items {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return requests
}
