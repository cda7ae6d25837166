package reseal

import (
	"cmp"
	"context"
	"time"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	lockstepv1alpha1 "github.com/lockstep-dev/lockstep/apis/lockstep/v1alpha1"
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// usersOf returns the Reseals of a GitRepository.
func (c *Controller) usersOf(ctx context.Context, o client.Object) []reconcile.Request {
	return c.requests(ctx, func(r *lockstepv1alpha1.Reseal) bool {
		return r.Spec.SourceRef.Name == o.GetName() && cmp.Or(r.Spec.SourceRef.Namespace, r.Namespace) == o.GetNamespace()
	})
}

func (c *Controller) requests(ctx context.Context, want func(*lockstepv1alpha1.Reseal) bool) []reconcile.Request {
	var all lockstepv1alpha1.ResealList
	if err := c.Client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list Reseals")
		return nil
	}
	var out []reconcile.Request
	for i := range all.Items {
		if want(&all.Items[i]) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&all.Items[i])})
		}
	}
	return out
}

// newArtifact lets through a GitRepository that is new, that was changed, or
// that has fetched something.
func newArtifact() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		was, is := e.ObjectOld.(*sourcev1.GitRepository), e.ObjectNew.(*sourcev1.GitRepository)
		return was.Generation != is.Generation || !equality.Semantic.DeepEqual(was.Status.Artifact, is.Status.Artifact)
	}}
}

// newUses lets through a SealedSecret that is opened with other keys than
// before, and one that is gone.
func newUses() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			was, is := e.ObjectOld.(*bitnamiv1alpha1.SealedSecret), e.ObjectNew.(*bitnamiv1alpha1.SealedSecret)
			return !equality.Semantic.DeepEqual(was.Uses(), is.Uses())
		},
	}
}

// together is how long to wait for other SealedSecrets of the same commit.
const together = time.Second

// afterSync wakes the Reseals, once for many SealedSecrets.
func (c *Controller) afterSync() handler.EventHandler {
	wake := func(ctx context.Context, q queue) {
		for _, r := range c.requests(ctx, func(*lockstepv1alpha1.Reseal) bool { return true }) {
			q.AddAfter(r, together)
		}
	}
	return handler.Funcs{
		UpdateFunc: func(ctx context.Context, _ event.UpdateEvent, q queue) { wake(ctx, q) },
		DeleteFunc: func(ctx context.Context, _ event.DeleteEvent, q queue) { wake(ctx, q) },
	}
}

// newKeys wakes the Reseals when the sealing keys change.
func (c *Controller) newKeys() source.Source {
	return source.Func(func(ctx context.Context, q queue) error {
		changed := c.Ring.Changed()
		go func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-changed:
				}
				changed = c.Ring.Changed() // before the list, so that no change falls between
				for _, r := range c.requests(ctx, func(*lockstepv1alpha1.Reseal) bool { return true }) {
					q.Add(r)
				}
			}
		}()
		return nil
	})
}
