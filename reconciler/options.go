package reconciler

import (
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"k8s.io/apimachinery/pkg/api/equality"
)

// Back-off of temporary failures: quick at first, as most pass within a second
// (a conflict, a webhook that starts), then capped so that whatever healed is
// noticed within a minute. There is no retry budget.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = time.Minute
)

// Options returns the settings that all controllers share: workers is how many
// objects are worked on at once.
func Options(workers int) controller.Options {
	return controller.Options{
		MaxConcurrentReconciles: workers,
		RateLimiter:             backoff{workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](firstRetry, lastRetry)},
	}
}

// backoff spreads another limiter's delays, so that objects that failed
// together do not come back together.
type backoff struct {
	workqueue.TypedRateLimiter[reconcile.Request]
}

func (b backoff) When(item reconcile.Request) time.Duration {
	return spread(b.TypedRateLimiter.When(item))
}

// Changed lets through what a user can change: spec, labels, annotations and
// deletion. Writes of the status, ours above all, wake nobody.
func Changed() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool { return changed(e.ObjectOld, e.ObjectNew) }}
}

func changed(was, is client.Object) bool {
	return was.GetGeneration() != is.GetGeneration() ||
		was.GetUID() != is.GetUID() ||
		was.GetDeletionTimestamp().IsZero() != is.GetDeletionTimestamp().IsZero() ||
		!equality.Semantic.DeepEqual(was.GetAnnotations(), is.GetAnnotations()) ||
		!equality.Semantic.DeepEqual(was.GetLabels(), is.GetLabels())
}
