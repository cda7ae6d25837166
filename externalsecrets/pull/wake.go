package pull

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/externalsecrets/texts"
	"github.com/lockstep-dev/lockstep/reconciler"
)

// Field indexes of ExternalSecrets.
const (
	byTarget = "lockstep.byTarget" // namespace/name of the Secret, if its name is not the object's own
	byStore  = "lockstep.byStore"  // kind/namespace/name; no namespace for a ClusterSecretStore
	bySource = "lockstep.bySource" // namespace/kind/name of what templateFrom or a generatorRef names; and its own namespace, if it has the latter
)

func index(mgr ctrl.Manager) error {
	for field, of := range map[string]func(*esv1.ExternalSecret) []string{
		byTarget: func(es *esv1.ExternalSecret) []string {
			if targetName(es) == es.Name {
				return nil // nearly all: writers knows them without an index, which would be half of what each holds in memory
			}
			return []string{es.Namespace + "/" + targetName(es)}
		},
		bySource: func(es *esv1.ExternalSecret) (refs []string) {
			for _, name := range texts.Names(es.Spec.Target.Template) {
				refs = append(refs, es.Namespace+"/"+name)
			}
			for _, ref := range fetch.Generators(&es.Spec) {
				namespace := es.Namespace
				if ref.Kind == genv1.ClusterGeneratorKind {
					namespace = ""
				}
				refs = append(refs, namespace+"/"+ref.Kind+"/"+ref.Name, es.Namespace)
			}
			return refs
		},
		byStore: func(es *esv1.ExternalSecret) (refs []string) {
			for _, ref := range fetch.Stores(&es.Spec) {
				refs = append(refs, storeKey(ref.Kind, es.Namespace, ref.Name))
			}
			return refs
		},
	} {
		err := mgr.GetFieldIndexer().IndexField(context.Background(), &esv1.ExternalSecret{}, field, //nolint:forbidigo // set-up, before there is a context
			func(o client.Object) []string { return of(o.(*esv1.ExternalSecret)) })
		if err != nil {
			return fmt.Errorf("index %s: %w", field, err)
		}
	}
	return nil
}

func storeKey(kind, namespace, name string) string {
	if kind == esv1.ClusterSecretStoreKind {
		namespace = ""
	}
	return kind + "/" + namespace + "/" + name
}

// writers wakes the ExternalSecrets whose target is a Secret.
func (c *Controller) writers() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
		requests := c.find(ctx, byTarget, o.GetNamespace()+"/"+o.GetName())
		key, es := client.ObjectKeyFromObject(o), &esv1.ExternalSecret{}
		if err := c.Client.Get(ctx, key, es); err == nil && targetName(es) == o.GetName() {
			requests = append(requests, reconcile.Request{NamespacedName: key})
		}
		return requests
	})
}

// generated wakes the ExternalSecrets that a generator was missing for. Those
// that have their values keep them until they are due.
func (c *Controller) generated(kind string) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
		return c.find(ctx, bySource, o.GetNamespace()+"/"+kind+"/"+o.GetName())
	})
}

// readers wakes the ExternalSecrets with a template in an object that has
// changed: what they hold is out of date.
func (c *Controller) readers(kind string) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
		requests := c.find(ctx, bySource, o.GetNamespace()+"/"+kind+"/"+o.GetName())
		for _, r := range requests {
			c.tickets.ask(r.NamespacedName)
		}
		return requests
	})
}

// changed lets through what is new to this process only if it was made just
// now: at a start, everything is.
func changed(since time.Time) builder.WatchesOption {
	return builder.WithPredicates(predicate.Funcs{
		// Creation times are whole seconds.
		CreateFunc: func(e event.CreateEvent) bool {
			return e.Object.GetCreationTimestamp().After(since.Add(-2 * time.Second))
		},
		UpdateFunc: func(e event.UpdateEvent) bool {
			return e.ObjectOld.GetResourceVersion() != e.ObjectNew.GetResourceVersion()
		},
		DeleteFunc: func(event.DeleteEvent) bool { return false },
	})
}

// inhabitants wakes the ExternalSecrets of a namespace that failed: whether a
// ClusterSecretStore admits it may depend on its labels.
func (c *Controller) inhabitants() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
		var list esv1.ExternalSecretList
		if err := c.Client.List(ctx, &list, client.InNamespace(o.GetName())); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "list ExternalSecrets", "namespace", o.GetName())
			return nil
		}
		var requests []reconcile.Request
		for i := range list.Items {
			object := client.ObjectKeyFromObject(&list.Items[i])
			c.tickets.ask(object)
			requests = append(requests, reconcile.Request{NamespacedName: object})
		}
		return requests
	})
}

// relabelled lets through namespaces whose labels have changed.
func relabelled() builder.WatchesOption {
	return builder.WithPredicates(predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return !equality.Semantic.DeepEqual(e.ObjectOld.GetLabels(), e.ObjectNew.GetLabels())
		},
		DeleteFunc: func(event.DeleteEvent) bool { return false },
	})
}

// usersOf wakes the ExternalSecrets that read a store.
func (c *Controller) usersOf(kind string) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
		return c.find(ctx, byStore, storeKey(kind, o.GetNamespace(), o.GetName()))
	})
}

func (c *Controller) find(ctx context.Context, field, value string) []reconcile.Request {
	var list esv1.ExternalSecretList
	if err := c.Client.List(ctx, &list, client.MatchingFields{field: value}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list ExternalSecrets", "field", field, "value", value)
		return nil
	}
	requests := make([]reconcile.Request, 0, len(list.Items))
	for i := range list.Items {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return requests
}

// usable lets through a store that is new, was changed, or has become ready.
func usable() builder.WatchesOption {
	ready := func(o client.Object) bool {
		return meta.IsStatusConditionTrue(o.(esv1.GenericStore).GetConditions(), reconciler.Ready)
	}
	return builder.WithPredicates(predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool {
			return e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() ||
				e.ObjectOld.GetUID() != e.ObjectNew.GetUID() ||
				!ready(e.ObjectOld) && ready(e.ObjectNew)
		},
		DeleteFunc: func(event.DeleteEvent) bool { return false },
	})
}
