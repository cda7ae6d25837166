package sealedsecret

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
)

// grace is how long the place of a Secret stays free that someone else had and
// deleted: kubectl replace --force and the like delete it to make it anew.
const grace = 500 * time.Millisecond

// departed counts the Secrets of others that were deleted within the grace.
// The zero value is ready to use.
type departed struct {
	mu     sync.Mutex
	counts map[types.NamespacedName]int
}

// note takes down that the Secret of a name is gone, for the grace, and calls
// over at its end.
func (d *departed) note(name types.NamespacedName, over func()) {
	d.add(name, 1)
	time.AfterFunc(grace, func() {
		d.add(name, -1)
		over()
	})
}

func (d *departed) add(name types.NamespacedName, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.counts == nil {
		d.counts = map[types.NamespacedName]int{}
	}
	if d.counts[name] += n; d.counts[name] == 0 {
		delete(d.counts, name)
	}
}

// lately says whether the Secret of a name has just gone. Its SealedSecret is
// woken when that is over.
func (d *departed) lately(name types.NamespacedName) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts[name] > 0
}

// sameName wakes the SealedSecret that a Secret may come from: the one of the
// same name. An ownerReference would not do, for a Secret that is in the way
// has none. Of most Secrets there is none: they cost a look into the cache, and
// no place in the queue.
func (c *Controller) sameName() handler.EventHandler {
	wake := func(ctx context.Context, o client.Object, q queue) {
		key := client.ObjectKeyFromObject(o)
		if err := c.Client.Get(ctx, key, &bitnamiv1alpha1.SealedSecret{}, client.UnsafeDisableDeepCopy); !apierrors.IsNotFound(err) {
			q.Add(reconcile.Request{NamespacedName: key})
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) { wake(ctx, e.Object, q) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) { wake(ctx, e.ObjectNew, q) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) {
			if recreated(e.Object) {
				wake(ctx, e.Object, q)
				return
			}
			c.departed.note(client.ObjectKeyFromObject(e.Object), func() { wake(ctx, e.Object, q) })
		},
	}
}

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// recreated says whether a Secret is one that comes back at once when it is
// deleted: that of a SealedSecret, or one that was handed over to it. Source:
// pkg/controller/controller.go of bitnami-labs/sealed-secrets v0.36.6.
func recreated(secret client.Object) bool {
	owner := metav1.GetControllerOf(secret)
	return owner != nil && owner.Kind == bitnamiv1alpha1.SealedSecretKind ||
		secret.GetAnnotations()[bitnamiv1alpha1.AnnotationManaged] == "true"
}
