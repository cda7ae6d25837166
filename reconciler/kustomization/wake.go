package kustomization

import (
	"context"
	"fmt"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	ctrlsource "sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/lockstep-dev/lockstep/reconciler"
)

// Field indexes, by what a Kustomization refers to.
const (
	bySource     = "lockstep.bySource"     // kind/namespace/name
	byDependency = "lockstep.byDependency" // namespace/name
	byReadyExpr  = "lockstep.byReadyExpr"  // namespace/name, of dependencies with a readyExpr
	byInput      = "lockstep.byInput"      // kind/namespace/name
)

func index(mgr ctrl.Manager) error {
	for field, refs := range map[string]func(*kustomizev1.Kustomization) []string{
		bySource: func(ks *kustomizev1.Kustomization) []string {
			ref := ks.Spec.SourceRef
			return []string{ref.Kind + "/" + or(ref.Namespace, ks.Namespace) + "/" + ref.Name}
		},
		byDependency: func(ks *kustomizev1.Kustomization) []string {
			return dependsOn(ks, func(kustomizev1.DependencyReference) bool { return true })
		},
		byReadyExpr: func(ks *kustomizev1.Kustomization) []string {
			return dependsOn(ks, func(d kustomizev1.DependencyReference) bool { return d.ReadyExpr != "" })
		},
		byInput: inputsOf,
	} {
		err := mgr.GetFieldIndexer().IndexField(context.Background(), &kustomizev1.Kustomization{}, field, //nolint:forbidigo // set-up, before there is a context
			func(o client.Object) []string { return refs(o.(*kustomizev1.Kustomization)) })
		if err != nil {
			return fmt.Errorf("index %s: %w", field, err)
		}
	}
	return nil
}

func dependsOn(ks *kustomizev1.Kustomization, is func(kustomizev1.DependencyReference) bool) (refs []string) {
	for _, d := range ks.Spec.DependsOn {
		if is(d) {
			refs = append(refs, or(d.Namespace, ks.Namespace)+"/"+d.Name)
		}
	}
	return refs
}

// inputsOf lists the Secrets and ConfigMaps that a Kustomization reads.
func inputsOf(ks *kustomizev1.Kustomization) (refs []string) {
	if ks.Spec.KubeConfig != nil {
		if from, err := connectionOf(ks); err == nil {
			refs = append(refs, from.kind+"/"+ks.Namespace+"/"+from.name)
		}
	}
	if d := ks.Spec.Decryption; d != nil && d.SecretRef != nil {
		refs = append(refs, "Secret/"+ks.Namespace+"/"+d.SecretRef.Name)
	}
	if ks.Spec.PostBuild != nil {
		for _, s := range ks.Spec.PostBuild.SubstituteFrom {
			refs = append(refs, s.Kind+"/"+ks.Namespace+"/"+s.Name)
		}
	}
	return refs
}

func or(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}

// users lists the Kustomizations that refer to something.
func (c *Controller) users(ctx context.Context, field, value string) []reconcile.Request {
	var list kustomizev1.KustomizationList
	if err := c.Client.List(ctx, &list, client.MatchingFields{field: value}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list users", "field", field, "value", value)
		return nil
	}
	requests := make([]reconcile.Request, 0, len(list.Items))
	for i := range list.Items {
		requests = append(requests, reconcile.Request{NamespacedName: key(&list.Items[i])})
	}
	return requests
}

// usersOfSource lists the Kustomizations of a source. Of the hundreds that a
// monorepo has, a commit changes the files of a few: these come first.
func (c *Controller) usersOfSource(ctx context.Context, kind, namespace, name string) (now, later []reconcile.Request) {
	snapshot, ok := c.Sources.Get(kind, namespace, name)
	for _, r := range c.users(ctx, bySource, kind+"/"+namespace+"/"+name) {
		if ok && c.states.same(r.NamespacedName, snapshot.Tree) {
			later = append(later, r)
		} else {
			now = append(now, r)
		}
	}
	return now, later
}

func (c *Controller) dependents(field string) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
		return c.users(ctx, field, o.GetNamespace()+"/"+o.GetName())
	})
}

func (c *Controller) usersOf(kind string) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
		return c.users(ctx, byInput, kind+"/"+o.GetNamespace()+"/"+o.GetName())
	})
}

func changedByUser() builder.ForOption { return builder.WithPredicates(reconciler.Changed()) }

// ready lets through a dependency that has become ready for something: its
// dependents start at once. One that fails wakes nobody.
func ready() builder.WatchesOption {
	state := func(o client.Object) (bool, string) {
		ks := o.(*kustomizev1.Kustomization)
		for _, c := range ks.Status.Conditions {
			if c.Type == reconciler.Ready {
				return c.Status == "True" && ks.Status.ObservedGeneration == ks.Generation, ks.Status.LastAppliedRevision
			}
		}
		return false, ""
	}
	return builder.WithPredicates(predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { is, _ := state(e.Object); return is },
		UpdateFunc: func(e event.UpdateEvent) bool {
			was, old := state(e.ObjectOld)
			is, revision := state(e.ObjectNew)
			return is && (!was || old != revision)
		},
		DeleteFunc: func(event.DeleteEvent) bool { return false },
	})
}

// wakes carries what the watches on applied objects have to say into the
// controller's queue.
type wakes struct {
	queue chan workqueue.TypedRateLimitingInterface[reconcile.Request]
}

func newWakes() *wakes {
	return &wakes{queue: make(chan workqueue.TypedRateLimitingInterface[reconcile.Request], 1)}
}

// source gives the controller's queue to notify.
func (w *wakes) source() ctrlsource.Source {
	return ctrlsource.Func(func(_ context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		w.queue <- q
		return nil
	})
}

// notify adds an owner to the queue. No watch runs before the controller
// does, so there is a queue by then.
func (w *wakes) notify(owner types.NamespacedName) {
	q := <-w.queue
	w.queue <- q
	q.Add(reconcile.Request{NamespacedName: owner})
}
