package events

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// Controller listens to the events of stores that have them. All fields but
// Recorder and Addr are required.
type Controller struct {
	Client   client.Client // reads stores from its cache
	Reader   client.Reader // reads the Secrets of webhooks, without a cache
	Recorder record.EventRecorder

	// Open returns the open reader of a store.
	Open func(ctx context.Context, store esv1.GenericStore) (providers.Reader, error)
	// Due makes the ExternalSecrets read now that use keys of a store.
	Due func(ctx context.Context, store Store, keys []string)

	// Addr is where webhooks are called; empty: none is.
	Addr string

	listeners listeners
	keys      keys
}

// +kubebuilder:rbac:groups=external-secrets.io,resources=secretstores;clustersecretstores,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch

// reconcile makes a store be listened to as its annotation says.
func (c *Controller) reconcile(ctx context.Context, store Store, obj esv1.GenericStore) error {
	err := c.Client.Get(ctx, client.ObjectKey{Namespace: store.Namespace, Name: store.Name}, obj)
	if err := client.IgnoreNotFound(err); err != nil {
		return fmt.Errorf("read %s %s: %w", store.Kind(), store, err)
	}
	var source string
	if err == nil {
		source = obj.GetAnnotations()[AnnotationSource]
	}
	log, version := ctrl.LoggerFrom(ctx), ""
	if source != "" {
		version = fmt.Sprint(source, " ", obj.GetUID(), " ", obj.GetGeneration())
	}
	c.keys.forget(store)
	c.listeners.set(store, version, func(ctx context.Context) {
		ctx = ctrl.LoggerInto(ctx, log)
		open := func(ctx context.Context) (providers.Reader, error) {
			if err := c.Client.Get(ctx, client.ObjectKeyFromObject(obj), obj); err != nil {
				return nil, fmt.Errorf("read %s %s: %w", store.Kind(), store, err)
			}
			return c.Open(ctx, obj)
		}
		changed := func(keys ...string) { c.Due(ctx, store, keys) }
		listen(ctx, source, open, changed, func(err error) {
			log.Error(err, "listen to the events of a store", "store", store.String())
			if c.Recorder != nil {
				c.Recorder.Eventf(obj, corev1.EventTypeWarning, "EventsFailed", "listen to its events: %v", err)
			}
		})
	})
	return nil
}

// key returns that of a store's webhook.
func (c *Controller) key(ctx context.Context, store Store) ([]byte, bool) {
	return c.keys.get(store, func() ([]byte, error) {
		obj := empty(store.Kind())
		if err := c.Client.Get(ctx, client.ObjectKey{Namespace: store.Namespace, Name: store.Name}, obj); err != nil {
			return nil, fmt.Errorf("read %s %s: %w", store.Kind(), store, err)
		}
		annotation, ok := obj.GetAnnotations()[AnnotationKey]
		if !ok {
			return nil, fmt.Errorf("%s %s has no annotation %s", store.Kind(), store, AnnotationKey)
		}
		namespace, name, key, err := secretOf(store, annotation)
		if err != nil {
			return nil, err
		}
		secret := &corev1.Secret{}
		if err := c.Reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, secret); err != nil {
			return nil, fmt.Errorf("read Secret %s/%s: %w", namespace, name, err)
		}
		if len(secret.Data[key]) < minKey {
			return nil, fmt.Errorf("Secret %s/%s: key %q must hold %d bytes or more", namespace, name, key, minKey) //nolint:staticcheck // ST1005: a kind begins with a capital
		}
		return secret.Data[key], nil
	}, func(err error) {
		ctrl.LoggerFrom(ctx).Info("a webhook was called that cannot be", "store", store.String(), "reason", err.Error())
	})
}

// keys remembers the keys of webhooks for a moment, so that whoever sends
// nonsense costs the API server little.
type keys struct {
	mu sync.Mutex
	m  map[Store]found
}

type found struct {
	key []byte
	ok  bool
	at  time.Time
}

const (
	remembered = 10 * time.Second // how long a key is, or that there is none
	maxStores  = 1000             // how many are
)

func (k *keys) get(store Store, read func() ([]byte, error), failed func(error)) ([]byte, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f, ok := k.m[store]; ok && time.Since(f.at) < remembered {
		return f.key, f.ok
	}
	key, err := read()
	if err != nil {
		failed(err)
	}
	if k.m == nil || len(k.m) >= maxStores {
		k.m = map[Store]found{}
	}
	k.m[store] = found{key, err == nil, time.Now()} //nolint:forbidigo // decides about load only
	return key, err == nil
}

func (k *keys) forget(store Store) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.m, store)
}

// serve answers webhooks until ctx ends. Only the leader does.
func (c *Controller) serve(ctx context.Context) error {
	defer c.listeners.close()
	if c.Addr == "" {
		<-ctx.Done()
		return nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Addr)
	if err != nil {
		return fmt.Errorf("listen for webhooks: %w", err)
	}
	server := &http.Server{Handler: newWebhook(c.key, c.Due), ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) }}
	go func() {
		<-ctx.Done()
		_ = server.Close() // a sender that was cut off tries again
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve webhooks: %w", err)
	}
	return nil
}

// SetupWithManager registers c with mgr.
func (c *Controller) SetupWithManager(mgr ctrl.Manager) error {
	if err := mgr.Add(manager.RunnableFunc(c.serve)); err != nil {
		return fmt.Errorf("add the webhook: %w", err)
	}
	for _, kind := range []string{esv1.SecretStoreKind, esv1.ClusterSecretStoreKind} {
		err := ctrl.NewControllerManagedBy(mgr).
			Named("events-"+kind).
			For(empty(kind), builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
			Complete(reconcile.Func(func(ctx context.Context, r reconcile.Request) (reconcile.Result, error) {
				return reconcile.Result{}, c.reconcile(ctx, Store(r.NamespacedName), empty(kind))
			}))
		if err != nil {
			return fmt.Errorf("watch %s: %w", kind, err)
		}
	}
	return nil
}

func empty(kind string) esv1.GenericStore {
	if kind == esv1.ClusterSecretStoreKind {
		return &esv1.ClusterSecretStore{}
	}
	return &esv1.SecretStore{}
}
