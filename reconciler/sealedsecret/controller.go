// Package sealedsecret opens a SealedSecret into the Secret of the same name,
// and keeps that Secret as it is sealed.
package sealedsecret

import (
	"context"
	"fmt"
	"runtime"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/reconciler"
	"github.com/lockstep-dev/lockstep/sealer"
)

// Controller reconciles SealedSecrets. Client, Reader, Recorder and Keys are
// required.
type Controller struct {
	Client   client.Client
	Reader   client.Reader // reads Secrets past the cache
	Recorder record.EventRecorder
	Keys     *sealer.Keyring

	// Workers is how many SealedSecrets are worked on at once; 0 means one for
	// each processor, as opening is all that takes long.
	Workers int

	// Selector picks the SealedSecrets that are served, by their labels; nil
	// picks all.
	Selector labels.Selector

	// AcceptDeprecatedData serves spec.data, the form before Sealed Secrets v0.8.
	AcceptDeprecatedData bool

	// AllowPrivileged lets a SealedSecret become a Secret of a type that gives
	// rights, or a sealing key. Those are Secrets in Namespace that have the
	// label of one, or the name KeyPrefix.
	AllowPrivileged      bool
	Namespace, KeyPrefix string

	// OmitMetricLabels keeps names of SealedSecrets and namespaces out of the metrics.
	OmitMetricLabels bool

	metrics  metrics
	departed departed

	// cached holds the metadata of Secrets. It is not Client, which may be told
	// to read Secrets past its cache, and then does so for metadata too.
	cached client.Reader
}

// +kubebuilder:rbac:groups=bitnami.com,resources=sealedsecrets,verbs=get;list;watch
// +kubebuilder:rbac:groups=bitnami.com,resources=sealedsecrets/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;update
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch

// SetupWithManager registers c with mgr.
func (c *Controller) SetupWithManager(mgr ctrl.Manager) error {
	c.cached, c.metrics = mgr.GetCache(), newMetrics(c.OmitMetricLabels)
	workers := c.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("sealedsecret").
		WithOptions(reconciler.Options(workers)).
		For(&bitnamiv1alpha1.SealedSecret{}, builder.WithPredicates(reconciler.Changed())).
		WatchesMetadata(&corev1.Secret{}, c.sameName()).
		WatchesRawSource(c.newKeys()).
		Complete(c.loop())
}

func (c *Controller) loop() *reconciler.Loop[*bitnamiv1alpha1.SealedSecret] {
	return &reconciler.Loop[*bitnamiv1alpha1.SealedSecret]{
		Client:   c.Client,
		Recorder: c.Recorder,
		New:      func() *bitnamiv1alpha1.SealedSecret { return &bitnamiv1alpha1.SealedSecret{} },
		Apply:    c.apply,
		// Before the keys are loaded nothing can be said about any of them;
		// newKeys wakes them then.
		Suspended: func(ss *bitnamiv1alpha1.SealedSecret) bool {
			return !c.Keys.Loaded() || c.Selector != nil && !c.Selector.Matches(labels.Set(ss.Labels))
		},
		Gone: c.metrics.gone,
		Success: func(*bitnamiv1alpha1.SealedSecret) (string, string) {
			return bitnamiv1alpha1.ReasonUnsealed, "SealedSecret unsealed successfully"
		},
		Observe: func(ss *bitnamiv1alpha1.SealedSecret, err error) {
			c.tellRetired(ss, err)
			ss.Status.ObservedGeneration = ss.Generation
			c.metrics.observe(ss)
			if err != nil {
				c.metrics.failed(ss, err)
			}
		},
	}
}

// apply makes the Secret what the SealedSecret says. Where the status says
// that it is so already, it opens nothing and asks the API server nothing.
func (c *Controller) apply(ctx context.Context, ss *bitnamiv1alpha1.SealedSecret) error {
	live, err := c.metadata(ctx, ss)
	if err != nil {
		return err
	}
	if current(ss, live) {
		return nil
	}
	c.metrics.requests.Inc()
	wanted, keys, err := c.open(ctx, ss)
	if err != nil {
		return reconciler.Final(bitnamiv1alpha1.ReasonUnsealFailed, err)
	}
	written, err := c.write(ctx, ss, live, wanted)
	if err != nil {
		return err
	}
	ss.Status.Target = &bitnamiv1alpha1.TargetStatus{
		UID:             written.UID,
		ResourceVersion: written.ResourceVersion,
		Generation:      ss.Generation,
		Scope:           scopeOf(ss).String(),
		Key:             keys.first,
		Keys:            keys.several(),
		Owned:           metav1.IsControlledBy(written, ss),
	}
	return nil
}

// metadata returns the metadata of the Secret from the cache, or nil if there
// is none.
func (c *Controller) metadata(ctx context.Context, ss *bitnamiv1alpha1.SealedSecret) (*metav1.PartialObjectMetadata, error) {
	live := &metav1.PartialObjectMetadata{}
	live.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	if err := c.cached.Get(ctx, client.ObjectKeyFromObject(ss), live); err != nil {
		if client.IgnoreNotFound(err) == nil {
			return nil, nil
		}
		return nil, fmt.Errorf("read metadata of Secret: %w", err)
	}
	return live, nil
}

// scopeOf returns the scope that the annotations of a SealedSecret name.
func scopeOf(o metav1.Object) sealer.Scope {
	switch annotations := o.GetAnnotations(); {
	case annotations[bitnamiv1alpha1.AnnotationClusterWide] == "true":
		return sealer.ClusterWide
	case annotations[bitnamiv1alpha1.AnnotationNamespaceWide] == "true":
		return sealer.NamespaceWide
	default:
		return sealer.Strict
	}
}
