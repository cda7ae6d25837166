// Package pull makes Secrets of ExternalSecrets: it reads their stores when
// that is due, and puts the Secrets right in between without asking anyone.
package pull

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/externalsecrets/generators"
	"github.com/lockstep-dev/lockstep/externalsecrets/queue"
	"github.com/lockstep-dev/lockstep/externalsecrets/stores"
	"github.com/lockstep-dev/lockstep/reconciler"
)

// Controller reconciles ExternalSecrets. All fields but Recorder and Workers
// are required.
type Controller struct {
	Client    client.Client // reads ExternalSecrets from its cache, and writes
	Reader    client.Reader // reads Secrets and ConfigMaps with templates, without a cache
	Metadata  client.Reader // cache of the metadata of Secrets
	Recorder  record.EventRecorder
	Stores    *stores.Stores
	Queue     *queue.Queue // of all who use Stores; nil makes one
	Makers    *generators.Generators
	Namespace string // of the controller, for the key of fingerprints
	Workers   int    // ExternalSecrets worked on at once; 0 means 16

	memories memories
	keys     keyring
	queue    *queue.Queue
	tickets  tickets
	alarm    alarm
	told     generators.Told
	meter    reconciler.Meter
}

// +kubebuilder:rbac:groups=external-secrets.io,resources=externalsecrets,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=external-secrets.io,resources=externalsecrets/status,verbs=patch
// +kubebuilder:rbac:groups=external-secrets.io,resources=externalsecrets/finalizers,verbs=update
// +kubebuilder:rbac:groups=external-secrets.io,resources=secretstores;clustersecretstores,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=configmaps;namespaces;serviceaccounts,verbs=get;list;watch
// +kubebuilder:rbac:groups=generators.external-secrets.io,resources=passwords;uuids;sshkeys;fakes;webhooks;ecrauthorizationtokens;stssessiontokens;gcraccesstokens;vaultdynamicsecrets;clustergenerators,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch

func (c *Controller) loop() *reconciler.Loop[*esv1.ExternalSecret] {
	var events record.EventRecorder // nil is none
	if c.Recorder != nil {
		events = recorder{c.Recorder, &c.memories}
	}
	return &reconciler.Loop[*esv1.ExternalSecret]{
		Client:      c.Client,
		Recorder:    events,
		New:         func() *esv1.ExternalSecret { return &esv1.ExternalSecret{} },
		Apply:       c.apply,
		Every:       c.every,
		Finalizer:   esv1.Finalizer,
		Needs:       func(es *esv1.ExternalSecret) bool { return deletion(es) == esv1.DeletionDelete },
		Sheds:       true,
		Finalize:    c.finalize,
		Gone:        c.forget,
		Meter:       c.meter,
		Success:     c.success,
		Observe:     func(es *esv1.ExternalSecret, _ error) { es.Status.ObservedGeneration = es.Generation },
		EventReason: eventReason,
	}
}

// forget drops what is known of an object that is gone.
func (c *Controller) forget(object types.NamespacedName) {
	c.memories.forget(object)
	c.tickets.forget(object)
	c.told.Forget(object)
	c.queue.Forget(object)
}

// mine passes on to next the ExternalSecrets that are this controller's: those
// of which no store is another's. The check comes before everything else,
// because External Secrets Operator has the same finalizer, and may run in the
// same cluster for another class.
func (c *Controller) mine(next reconcile.Reconciler) reconcile.Func {
	return func(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
		es := &esv1.ExternalSecret{}
		if err := c.Client.Get(ctx, req.NamespacedName, es); err == nil && !c.serves(ctx, es) {
			return reconcile.Result{}, nil
		}
		return next.Reconcile(ctx, req)
	}
}

// serves reports whether all stores and generators of es are this
// controller's.
func (c *Controller) serves(ctx context.Context, es *esv1.ExternalSecret) bool {
	theirs := func(ref esv1.SecretStoreRef) bool { return !c.Stores.Serves(ctx, ref.Kind, es.Namespace, ref.Name) }
	others := func(ref esv1.GeneratorRef) bool { return !c.Makers.Serves(ctx, es.Namespace, ref) }
	return !slices.ContainsFunc(fetch.Stores(&es.Spec), theirs) && !slices.ContainsFunc(fetch.Generators(&es.Spec), others)
}

// finalize deletes the Secret of an ExternalSecret that asks for it. Without
// deletionPolicy Delete, the garbage collector deletes what is owned.
func (c *Controller) finalize(ctx context.Context, es *esv1.ExternalSecret) error {
	if deletion(es) != esv1.DeletionDelete {
		return nil
	}
	return classify(es, 0, c.remove(ctx, es, targetName(es)))
}

// success gives Ready=True its words: those of the last read, or after a
// restart those that it has.
func (c *Controller) success(es *esv1.ExternalSecret) (string, string) {
	if m := c.memories.of(es); m.ready != (outcome{}) {
		return m.ready.reason, m.ready.message
	}
	if ready := meta.FindStatusCondition(es.GetConditions(), reconciler.Ready); ready != nil && ready.Status == metav1.ConditionTrue {
		return ready.Reason, ready.Message
	}
	return esv1.ReasonSecretSynced, messageSynced
}

func eventReason(ready metav1.Condition) string {
	switch {
	case ready.Status != metav1.ConditionTrue:
		return esv1.EventUpdateFailed
	case ready.Reason == esv1.ReasonSecretDeleted:
		return esv1.EventDeleted
	default:
		return esv1.EventUpdated
	}
}

// start makes the key of fingerprints ready before it is needed. If it cannot,
// the first object that needs it says why.
func (c *Controller) start(ctx context.Context) error {
	if _, err := c.keys.get(ctx, c.Reader, c.Client, c.Namespace); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "prepare fingerprints")
	}
	return nil
}

// SetupWithManager registers c with mgr.
func (c *Controller) SetupWithManager(mgr ctrl.Manager) error {
	if err := mgr.Add(manager.RunnableFunc(c.start)); err != nil {
		return fmt.Errorf("add start: %w", err)
	}
	measures := reconciler.NewMeasures("externalsecret", c.Client, func() client.ObjectList { return &esv1.ExternalSecretList{} }, true)
	if err := mgr.Add(measures); err != nil {
		return fmt.Errorf("add metrics: %w", err)
	}
	c.meter = measures
	if err := index(mgr); err != nil {
		return err
	}
	if c.queue = c.Queue; c.queue == nil {
		c.queue = &queue.Queue{Stores: c.Stores}
	}
	c.queue.Wake = func(object types.NamespacedName, lane queue.Lane) {
		c.tickets.ask(object)
		c.alarm.set(object, lane, 0)
	}
	watch(c.queue)
	workers := c.Workers
	if workers == 0 {
		workers = 16
	}
	started := changed(time.Now()) //nolint:forbidigo // creation times are of the real clock
	b := ctrl.NewControllerManagedBy(mgr)
	for kind, obj := range generators.Kinds() {
		b = b.Watches(obj, c.generated(kind), started)
	}
	return b.
		Named("externalsecret").
		WithOptions(reconciler.Options(workers)).
		For(&esv1.ExternalSecret{}, builder.WithPredicates(reconciler.Changed())).
		WatchesMetadata(&corev1.Secret{}, c.writers()).
		WatchesMetadata(&corev1.Secret{}, c.readers("Secret"), started).
		WatchesMetadata(&corev1.ConfigMap{}, c.readers("ConfigMap"), started).
		WatchesMetadata(&corev1.Secret{}, c.credentials("Secret"), started).
		WatchesMetadata(&corev1.ConfigMap{}, c.credentials("ConfigMap"), started).
		WatchesMetadata(&corev1.ServiceAccount{}, c.credentials("ServiceAccount"), started).
		WatchesMetadata(&corev1.Namespace{}, c.inhabitants(), relabelled()).
		Watches(&esv1.SecretStore{}, c.usersOf(esv1.SecretStoreKind), usable()).
		Watches(&esv1.ClusterSecretStore{}, c.usersOf(esv1.ClusterSecretStoreKind), usable()).
		WatchesRawSource(&c.alarm).
		Complete(c.mine(c.loop()))
}
