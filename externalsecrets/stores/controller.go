package stores

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/reconciler"
)

// Controller validates SecretStores and ClusterSecretStores. Client and Stores
// are required.
type Controller struct {
	Client   client.Client
	Recorder record.EventRecorder
	Stores   *Stores

	// Interval is how often a store without a refreshInterval is opened anew,
	// to see that it still can be; 0 means only when something changes.
	Interval time.Duration
	Workers  int // stores of each kind worked on at once; 0 means 4
}

// retryInterval is how soon a store is tried again that something outside the
// cluster keeps from working, in a way that rarely passes by itself.
const retryInterval = time.Minute

// +kubebuilder:rbac:groups=external-secrets.io,resources=secretstores;clustersecretstores,verbs=get;list;watch
// +kubebuilder:rbac:groups=external-secrets.io,resources=secretstores/status;clustersecretstores/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=secrets;configmaps;serviceaccounts,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=serviceaccounts/token,verbs=create
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch

// loop is the same for both kinds of store.
func loop[T esv1.GenericStore](c *Controller, kind string, empty func() T, meter reconciler.Meter) *reconciler.Loop[T] {
	return &reconciler.Loop[T]{
		Meter:     meter,
		Client:    c.Client,
		Recorder:  c.Recorder,
		New:       empty,
		Apply:     func(ctx context.Context, store T) error { return c.apply(ctx, store) },
		Every:     func(store T) time.Duration { return c.every(store) },
		Suspended: func(store T) bool { return !c.Stores.serves(store) },
		Gone:      func(name types.NamespacedName) { c.Stores.forget(kind, name) },
		Success:   func(store T) (string, string) { return c.success(kind, store) },
		Observe: func(store T, _ error) {
			store.StoreStatus().ObservedGeneration = store.GetGeneration()
			if can := c.Stores.capabilities(kind, store); can != "" {
				store.StoreStatus().Capabilities = can
			}
		},
	}
}

// apply opens a store, or sees that it is open and not due to be opened anew.
func (c *Controller) apply(ctx context.Context, store esv1.GenericStore) error {
	if err := checkSpec(store); err != nil {
		return classify(err)
	}
	if unknown(store) {
		return classify(c.Stores.Registry.Check(store.StoreSpec().Provider))
	}
	_, err := c.Stores.reader(ctx, store, "", c.every(store))
	return classify(err)
}

// unknown reports whether a store cannot be opened on its own, because it
// refers to something in the namespace of each object that uses it.
func unknown(store esv1.GenericStore) bool {
	return store.GetNamespace() == "" && usesReferent(store.StoreSpec().Provider)
}

// checkSpec refuses what would be ignored, and conditions that can never be
// evaluated.
func checkSpec(store esv1.GenericStore) error {
	conditions := store.StoreSpec().Conditions
	if _, err := retries(store.StoreSpec().RetrySettings); err != nil {
		return err
	}
	if store.GetNamespace() != "" && len(conditions) > 0 {
		return fmt.Errorf("spec.conditions: %w: a SecretStore is for its own namespace only: remove them, or make it a ClusterSecretStore", providers.ErrInvalid)
	}
	if err := checkAuthorities(store); err != nil {
		return err
	}
	if err := permits(store, "", "", true); err != nil && !errors.Is(err, ErrKeyPolicy) {
		return err
	}
	err := admits(conditions, "", func() (map[string]string, error) { return nil, nil })
	if errors.Is(err, ErrNotAdmitted) {
		return nil
	}
	return err
}

// classify turns an error of a provider into an outcome of the Loop.
func classify(err error) error {
	var throttled providers.Throttled
	switch {
	case err == nil:
		return nil
	case errors.Is(err, providers.ErrInvalid):
		return reconciler.Final(esv1.ReasonInvalidStore, err)
	case errors.Is(err, ErrReference), errors.Is(err, errReferent):
		return reconciler.Wait(esv1.ReasonInvalidProviderConfig, retryInterval, err)
	case errors.As(err, &throttled) && throttled.After > 0:
		return reconciler.Wait(esv1.ReasonValidationFailed, throttled.After, err)
	case errors.Is(err, providers.ErrDenied), errors.Is(err, providers.ErrNotFound):
		return reconciler.Wait(esv1.ReasonValidationFailed, retryInterval, err)
	default:
		return reconciler.Temporary(esv1.ReasonValidationFailed, err)
	}
}

// every is when a store is opened anew; 0 is never.
func (c *Controller) every(store esv1.GenericStore) time.Duration {
	if d := interval(store.StoreSpec().RefreshInterval); d > 0 {
		return d
	}
	return c.Interval
}

// interval reads a number of seconds or a Go duration; 0 if it is neither.
func interval(v *intstr.IntOrString) time.Duration {
	if v == nil {
		return 0
	}
	if v.Type == intstr.Int {
		return time.Duration(v.IntVal) * time.Second
	}
	d, err := time.ParseDuration(v.StrVal)
	if err != nil {
		return 0
	}
	return d
}

// SetupWithManager registers a controller for each kind of store with mgr.
func (c *Controller) SetupWithManager(mgr ctrl.Manager) error {
	err := setup(c, mgr, esv1.SecretStoreKind, func() *esv1.SecretStore { return &esv1.SecretStore{} }, &esv1.SecretStoreList{})
	if err != nil {
		return err
	}
	return setup(c, mgr, esv1.ClusterSecretStoreKind, func() *esv1.ClusterSecretStore { return &esv1.ClusterSecretStore{} }, &esv1.ClusterSecretStoreList{})
}

// storeObject is what the builder and the Loop want of a store.
type storeObject interface {
	esv1.GenericStore
	client.Object
}

func setup[T storeObject](c *Controller, mgr ctrl.Manager, kind string, empty func() T, list client.ObjectList) error {
	if err := index(mgr, empty()); err != nil {
		return err
	}
	measures := reconciler.NewMeasures(strings.ToLower(kind), c.Client, func() client.ObjectList { return list.DeepCopyObject().(client.ObjectList) }, false)
	if err := mgr.Add(measures); err != nil {
		return fmt.Errorf("add metrics: %w", err)
	}
	workers := c.Workers
	if workers == 0 {
		workers = 4
	}
	b := ctrl.NewControllerManagedBy(mgr).
		Named("externalsecrets-"+kind).
		WithOptions(reconciler.Options(workers)).
		For(empty(), builder.WithPredicates(reconciler.Changed()))
	for referred, obj := range map[string]client.Object{
		kindSecret: &corev1.Secret{}, kindConfigMap: &corev1.ConfigMap{}, kindServiceAccount: &corev1.ServiceAccount{},
	} {
		b = b.WatchesMetadata(obj, c.users(referred, list))
	}
	return b.Complete(loop(c, kind, empty, measures))
}

// byReference is the field index of stores by what they refer to, as reference
// writes it.
const byReference = "lockstep.byReference"

func index(mgr ctrl.Manager, obj client.Object) error {
	err := mgr.GetFieldIndexer().IndexField(context.Background(), obj, byReference, func(o client.Object) (refs []string) { //nolint:forbidigo // set-up, before there is a context
		store := o.(esv1.GenericStore)
		for _, s := range selectors(store.StoreSpec().Provider) {
			namespace, err := scopeOf(store, "").namespace(s.field, s.namespace)
			if err == nil || errors.Is(err, errReferent) {
				refs = append(refs, reference(s.kind, namespace, s.name))
			}
		}
		return refs
	})
	if err != nil {
		return fmt.Errorf("index %s: %w", byReference, err)
	}
	return nil
}

// users wakes the stores that refer to an object.
func (c *Controller) users(kind string, list client.ObjectList) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
		found := list.DeepCopyObject().(client.ObjectList)
		if err := c.Client.List(ctx, found, client.MatchingFields{byReference: reference(kind, o.GetNamespace(), o.GetName())}); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "list stores", "kind", kind)
			return nil
		}
		var requests []reconcile.Request
		switch stores := found.(type) {
		case *esv1.SecretStoreList:
			for i := range stores.Items {
				requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&stores.Items[i])})
			}
		case *esv1.ClusterSecretStoreList:
			for i := range stores.Items {
				requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&stores.Items[i])})
			}
		}
		return requests
	})
}
