// Package keys keeps the sealing keys of the cluster: it makes the first one and
// renews it, loads all that there are, and publishes the newest to kubeseal over
// HTTP.
//
// A sealing key is a Secret of type kubernetes.io/tls in the controller's
// namespace, with the label sealedsecrets.bitnami.com/sealed-secrets-key=active,
// as in Sealed Secrets: its backups, and keys that people bring, load as they
// are. With the value compromised or retired it opens only to re-seal.
package keys

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/reconciler"
	"github.com/lockstep-dev/lockstep/sealer"
)

// Controller keeps a Keyring in line with the key Secrets of one namespace, in
// every replica; only the leader makes a key, but for one that was asked for.
// All fields but Recorder, Addr, Asked, the limits and the timeouts are required.
type Controller struct {
	Client client.Client
	Reader client.Reader // reads Secrets past the cache
	Ring   *sealer.Keyring

	Recorder record.EventRecorder // of Events about key Secrets; nil sends none

	Namespace string        // of the key Secrets: the controller's own
	Prefix    string        // of the names of new key Secrets
	KeySize   int           // of a new key, in bits
	TTL       time.Duration // validity of a new key's certificate
	Renewal                 // when there is a new key, and how its Secret looks
	Addr      string        // of the HTTP API, as in net.Listen; empty serves none

	// Asked gets a signal for each new key that someone wants at once; nil gets
	// none.
	Asked <-chan os.Signal

	// RateLimit is how many sealed values the HTTP API opens in a second for one
	// client, and RateBurst how many at once; 0 does not limit them.
	RateLimit float64
	RateBurst int

	// ReadTimeout and WriteTimeout are how long a request to it, and its answer,
	// may take; 0 is 10 seconds, and a minute.
	ReadTimeout, WriteTimeout time.Duration

	// cached holds the metadata of Secrets. It is not Client, which may be told
	// to read Secrets past its cache, and then does so for metadata too.
	cached client.Reader

	mu     sync.Mutex
	loaded map[string]loaded // by the name of the Secret; nil before the first load
}

// loaded is a key, and the state of the Secret that it was read from.
type loaded struct {
	uid     types.UID
	version string
	key     sealer.Key
}

// +kubebuilder:rbac:groups="",namespace=lockstep-system,resources=secrets,verbs=get;list;watch;create

// SetupWithManager registers c, and its HTTP server, with mgr.
func (c *Controller) SetupWithManager(mgr ctrl.Manager) error {
	c.cached = mgr.GetCache()
	if err := mgr.Add(manager.RunnableFunc(c.keep)); err != nil {
		return fmt.Errorf("add maker of keys: %w", err)
	}
	if err := mgr.Add(manager.RunnableFunc(c.complete)); err != nil {
		return fmt.Errorf("add maker of keys of envelope 2: %w", err)
	}
	if err := mgr.Add(asked{c}); err != nil {
		return fmt.Errorf("add maker of keys that are asked for: %w", err)
	}
	reconciler.Register(c.Metrics(mgr.GetCache()))
	if c.Addr != "" {
		if err := mgr.Add(&server{addr: c.Addr, handler: c.Handler(), read: cmp.Or(c.ReadTimeout, readTimeout), write: cmp.Or(c.WriteTimeout, writeTimeout)}); err != nil {
			return fmt.Errorf("add server of certificates: %w", err)
		}
	}
	options := reconciler.Options(1)
	everywhere := false
	options.NeedLeaderElection = &everywhere // each replica serves the certificate
	return ctrl.NewControllerManagedBy(mgr).
		Named("keys").
		WithOptions(options).
		For(&corev1.Secret{}, builder.OnlyMetadata, builder.WithPredicates(c.keySecrets())).
		Complete(reconcile.Func(c.Reconcile))
}

// keySecrets lets through what is a key Secret, and what ceases to be one.
func (c *Controller) keySecrets() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return c.isKey(e.Object) },
		UpdateFunc: func(e event.UpdateEvent) bool { return c.isKey(e.ObjectOld) || c.isKey(e.ObjectNew) },
		DeleteFunc: func(e event.DeleteEvent) bool { return c.isKey(e.Object) },
	}
}

// isKey says whether o is a key Secret: one with the label, or the one that
// the first releases of Sealed Secrets made, whose name is the prefix itself.
func (c *Controller) isKey(o client.Object) bool {
	if o.GetNamespace() != c.Namespace || !o.GetDeletionTimestamp().IsZero() {
		return false
	}
	label, ok := o.GetLabels()[bitnamiv1alpha1.LabelSealingKey]
	return slices.Contains(states, label) || !ok && o.GetName() == c.Prefix
}

// Reconcile brings the Keyring in line with one Secret. It implements
// reconcile.Reconciler.
func (c *Controller) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	meta := &metav1.PartialObjectMetadata{}
	meta.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	err := c.cached.Get(ctx, req.NamespacedName, meta)
	if client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("read metadata of key Secret: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.loaded == nil {
		if err := c.load(ctx); err != nil {
			return reconcile.Result{}, err
		}
	}
	if err != nil || !c.isKey(meta) {
		c.drop(req.Name)
		return reconcile.Result{}, nil
	}
	if known, ok := c.loaded[req.Name]; ok && known.uid == meta.UID && known.version == meta.ResourceVersion {
		return reconcile.Result{}, nil
	}
	return reconcile.Result{}, c.read(ctx, req.NamespacedName)
}

// read loads one key Secret by name.
func (c *Controller) read(ctx context.Context, name types.NamespacedName) error {
	secret := &corev1.Secret{}
	err := c.Reader.Get(ctx, name, secret)
	if apierrors.IsNotFound(err) || err == nil && !c.isKey(secret) {
		c.drop(name.Name)
		return nil
	}
	if err != nil {
		return fmt.Errorf("read key Secret: %w", err)
	}
	if err := c.put(secret); err != nil {
		c.drop(name.Name)
		c.tellMalformed(secret, err)
		return reconcile.TerminalError(err) // until someone changes the Secret
	}
	c.wellFormed(name.Name)
	c.publish()
	return nil
}

// load reads every key Secret at once, so that no value is tried with only
// some of the keys. One that is malformed is left out; Reconcile reports it.
func (c *Controller) load(ctx context.Context) error {
	secrets, err := c.list(ctx)
	if err != nil {
		return err
	}
	c.fill(secrets)
	return nil
}

func (c *Controller) fill(secrets []corev1.Secret) {
	c.loaded = map[string]loaded{}
	for i := range secrets {
		_ = c.put(&secrets[i]) // see load
	}
	c.publish()
}

func (c *Controller) list(ctx context.Context) ([]corev1.Secret, error) {
	var labelled corev1.SecretList
	err := c.Reader.List(ctx, &labelled, client.InNamespace(c.Namespace), client.MatchingLabelsSelector{Selector: Selector()})
	if err != nil {
		return nil, fmt.Errorf("list key Secrets in namespace %q: %w", c.Namespace, err)
	}
	secrets := labelled.Items
	var legacy corev1.Secret
	err = c.Reader.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: c.Prefix}, &legacy)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read key Secret %s/%s: %w", c.Namespace, c.Prefix, err)
	}
	if _, ok := legacy.Labels[bitnamiv1alpha1.LabelSealingKey]; err == nil && !ok {
		secrets = append(secrets, legacy)
	}
	return secrets, nil
}

func (c *Controller) put(secret *corev1.Secret) error {
	key, err := Parse(secret)
	if err != nil {
		return fmt.Errorf("key Secret %s/%s is left out: %w", secret.Namespace, secret.Name, err)
	}
	if c.Order == ByCreation {
		key.Since = secret.CreationTimestamp.Time
	}
	c.loaded[secret.Name] = loaded{uid: secret.UID, version: secret.ResourceVersion, key: key}
	return nil
}

func (c *Controller) drop(name string) {
	c.wellFormed(name)
	if _, ok := c.loaded[name]; ok {
		delete(c.loaded, name)
		c.publish()
	}
}

// publish hands the loaded keys to the Keyring.
func (c *Controller) publish() {
	keys := make([]sealer.Key, 0, len(c.loaded))
	for _, l := range c.loaded {
		keys = append(keys, l.key)
	}
	c.Ring.Set(keys...)
}

// Parse returns the key in a Secret. Its errors hold nothing of its values.
func Parse(secret *corev1.Secret) (sealer.Key, error) {
	private, err := sealer.ParsePrivateKey(secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return sealer.Key{}, fmt.Errorf("%s: %w", corev1.TLSPrivateKeyKey, err)
	}
	cert, err := sealer.ParseCertificate(secret.Data[corev1.TLSCertKey])
	if err != nil {
		return sealer.Key{}, fmt.Errorf("%s: %w", corev1.TLSCertKey, err)
	}
	key, err := sealer.NewKey(private, cert)
	key.Retired = Retired(secret)
	return withHybrid(key, secret), err
}
