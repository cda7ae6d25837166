package push

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	esv1alpha1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1alpha1"
	"github.com/lockstep-dev/lockstep/externalsecrets/queue"
	"github.com/lockstep-dev/lockstep/reconciler"
)

// SetupWithManager registers c with mgr.
func (c *Controller) SetupWithManager(mgr ctrl.Manager) error {
	workers := c.Workers
	if workers == 0 {
		workers = 16 // few of them at a time are at the same store
	}
	if c.line = c.Queue; c.line == nil {
		c.line = &queue.Queue{Stores: c.Stores}
	}
	measures := reconciler.NewMeasures("pushsecret", c.Client, func() client.ObjectList { return &esv1alpha1.PushSecretList{} }, false)
	if err := mgr.Add(measures); err != nil {
		return fmt.Errorf("add metrics: %w", err)
	}
	c.meter = measures
	return ctrl.NewControllerManagedBy(mgr).
		Named("pushsecret").
		WithOptions(reconciler.Options(workers)).
		For(&esv1alpha1.PushSecret{}, builder.WithPredicates(reconciler.Changed())).
		WatchesMetadata(&corev1.Secret{}, c.wake(pushes)).
		Watches(&esv1.SecretStore{}, c.wake(writes(esv1.SecretStoreKind)), changed()).
		Watches(&esv1.ClusterSecretStore{}, c.wake(writes(esv1.ClusterSecretStoreKind)), changed()).
		WatchesRawSource(&c.alarm).
		Complete(c.mine(c.loop()))
}

// mine passes on to next the PushSecrets that are this controller's: those of
// which no store is another's.
func (c *Controller) mine(next reconcile.Reconciler) reconcile.Func {
	return func(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
		ps := &esv1alpha1.PushSecret{}
		if err := c.Client.Get(ctx, req.NamespacedName, ps); err == nil {
			for i := range ps.Spec.SecretStoreRefs {
				ref := &ps.Spec.SecretStoreRefs[i]
				if ref.Name != "" && !c.Stores.Serves(ctx, kindOf(ref), ps.Namespace, ref.Name) {
					return reconcile.Result{}, nil
				}
			}
		}
		return next.Reconcile(ctx, req)
	}
}

// changed lets through changes of a store itself, and not of its status.
func changed() builder.WatchesOption {
	return builder.WithPredicates(predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{}, predicate.AnnotationChangedPredicate{}))
}

// wake wakes the PushSecrets that an object concerns: those of its namespace,
// or of all if it has none.
func (c *Controller) wake(concerns func(*esv1alpha1.PushSecret, client.Object) bool) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) (requests []reconcile.Request) {
		var list esv1alpha1.PushSecretList
		if err := c.Client.List(ctx, &list, client.InNamespace(o.GetNamespace())); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "list PushSecrets")
			return nil
		}
		for i := range list.Items {
			if concerns(&list.Items[i], o) {
				requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
			}
		}
		return requests
	})
}

// pushes reports whether ps pushes a Secret. A Secret that is not labelled any
// more may have been pushed before, so a selector looks at all.
func pushes(ps *esv1alpha1.PushSecret, secret client.Object) bool {
	s := ps.Spec.Selector.Secret
	return s != nil && (s.Selector != nil || s.Name == secret.GetName())
}

// writes reports whether ps writes to a store of a kind.
func writes(kind string) func(*esv1alpha1.PushSecret, client.Object) bool {
	return func(ps *esv1alpha1.PushSecret, store client.Object) bool {
		for i := range ps.Spec.SecretStoreRefs {
			ref := &ps.Spec.SecretStoreRefs[i]
			if own := ref.Kind; own != kind && (own != "" || kind != esv1.SecretStoreKind) {
				continue
			}
			if ref.Name == store.GetName() {
				return true
			}
			if selector, err := metav1.LabelSelectorAsSelector(ref.LabelSelector); err == nil && ref.LabelSelector != nil && selector.Matches(labels.Set(store.GetLabels())) {
				return true
			}
		}
		return false
	}
}
