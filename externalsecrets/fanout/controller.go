package fanout

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"k8s.io/apimachinery/pkg/api/equality"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	esv1alpha1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1alpha1"
	"github.com/lockstep-dev/lockstep/reconciler"
)

// Controller reconciles ClusterExternalSecrets and ClusterPushSecrets. All
// fields but Recorder are required.
type Controller struct {
	Client   client.Client
	Metadata client.Reader // cache of the metadata of Namespaces
	Recorder record.EventRecorder
}

// +kubebuilder:rbac:groups=external-secrets.io,resources=clusterexternalsecrets;clusterpushsecrets,verbs=get;list;watch
// +kubebuilder:rbac:groups=external-secrets.io,resources=clusterexternalsecrets/status;clusterpushsecrets/status,verbs=patch
// +kubebuilder:rbac:groups=external-secrets.io,resources=clusterexternalsecrets/finalizers;clusterpushsecrets/finalizers,verbs=update
// +kubebuilder:rbac:groups=external-secrets.io,resources=externalsecrets;pushsecrets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch

// Reasons of Ready=False, which the peers do not have.
const (
	reasonInvalid = "InvalidSelector"
	reasonFailed  = "NamespacesFailed"
)

var errInvalid = errors.New("invalid selector")

// retryInterval is how soon namespaces that failed are tried again that no
// watch tells about.
const retryInterval = time.Minute

func classify(err error) error {
	if errors.Is(err, errInvalid) {
		return reconciler.Final(reasonInvalid, err)
	}
	return err
}

func failed(err error) error {
	if err == nil {
		return nil
	}
	return reconciler.Wait(reasonFailed, retryInterval, err)
}

func ownerOf(kind string, version string, o client.Object) metav1.OwnerReference {
	yes := true
	return metav1.OwnerReference{APIVersion: version, Kind: kind, Name: o.GetName(), UID: o.GetUID(), Controller: &yes, BlockOwnerDeletion: &yes}
}

func either(name, fallback string) string {
	if name != "" {
		return name
	}
	return fallback
}

// applyExternal brings the ExternalSecrets of a ClusterExternalSecret in line.
func (c *Controller) applyExternal(ctx context.Context, ces *esv1.ClusterExternalSecret) error {
	name := either(ces.Spec.ExternalSecretName, ces.Name)
	selectors := ces.Spec.NamespaceSelectors
	if ces.Spec.NamespaceSelector != nil {
		selectors = append([]*metav1.LabelSelector{ces.Spec.NamespaceSelector}, selectors...)
	}
	notes := ces.Spec.ExternalSecretMetadata.Annotations
	if forced := ces.Annotations[esv1.AnnotationForceSyncAll]; forced != "" {
		notes = merged(notes, map[string]string{esv1.AnnotationForceSyncAll: forced})
	}
	r, err := carryOut(ctx, c, &plan[*esv1.ExternalSecret]{
		owner: ownerOf(esv1.ClusterExternalSecretKind, esv1.GroupVersion.String(), ces),
		name:  name, selectors: selectors, names: ces.Spec.Namespaces,
		labels: ces.Spec.ExternalSecretMetadata.Labels, notes: notes,
		empty: func() *esv1.ExternalSecret { return &esv1.ExternalSecret{} },
		all: func(ctx context.Context) (found []*esv1.ExternalSecret, err error) {
			var list esv1.ExternalSecretList
			err = c.Client.List(ctx, &list)
			for i := range list.Items {
				found = append(found, &list.Items[i])
			}
			return found, err
		},
		spec: func(es *esv1.ExternalSecret) any { return es.Spec },
		fill: func(es *esv1.ExternalSecret) { es.Spec = *ces.Spec.ExternalSecretSpec.DeepCopy() },
	})
	ces.Status.ExternalSecretName, ces.Status.ProvisionedNamespaces, ces.Status.FailedNamespaces = name, r.provisioned, r.failed
	if err != nil {
		return classify(err)
	}
	return failed(r.err())
}

// applyPush brings the PushSecrets of a ClusterPushSecret in line.
func (c *Controller) applyPush(ctx context.Context, cps *esv1alpha1.ClusterPushSecret) error {
	name := either(cps.Spec.PushSecretName, cps.Name)
	r, err := carryOut(ctx, c, &plan[*esv1alpha1.PushSecret]{
		owner: ownerOf(esv1alpha1.ClusterPushSecretKind, esv1alpha1.GroupVersion.String(), cps),
		name:  name, selectors: cps.Spec.NamespaceSelectors,
		labels: cps.Spec.PushSecretMetadata.Labels, notes: cps.Spec.PushSecretMetadata.Annotations,
		empty: func() *esv1alpha1.PushSecret { return &esv1alpha1.PushSecret{} },
		all: func(ctx context.Context) (found []*esv1alpha1.PushSecret, err error) {
			var list esv1alpha1.PushSecretList
			err = c.Client.List(ctx, &list)
			for i := range list.Items {
				found = append(found, &list.Items[i])
			}
			return found, err
		},
		spec: func(ps *esv1alpha1.PushSecret) any { return ps.Spec },
		fill: func(ps *esv1alpha1.PushSecret) { ps.Spec = *cps.Spec.PushSecretSpec.DeepCopy() },
	})
	cps.Status.PushSecretName, cps.Status.ProvisionedNamespaces, cps.Status.FailedNamespaces = name, r.provisioned, r.failed
	if err != nil {
		return classify(err)
	}
	return failed(r.err())
}

// every is how often to look again without an event: when the object says so.
func every(interval *metav1.Duration) time.Duration {
	if interval == nil {
		return 0
	}
	return max(interval.Duration, 0)
}

// SetupWithManager registers a controller for each kind with mgr.
func (c *Controller) SetupWithManager(mgr ctrl.Manager) error {
	externals := reconciler.NewMeasures("clusterexternalsecret", c.Client, func() client.ObjectList { return &esv1.ClusterExternalSecretList{} }, false)
	pushes := reconciler.NewMeasures("clusterpushsecret", c.Client, func() client.ObjectList { return &esv1alpha1.ClusterPushSecretList{} }, false)
	if err := errors.Join(mgr.Add(externals), mgr.Add(pushes)); err != nil {
		return fmt.Errorf("add metrics: %w", err)
	}
	external := &reconciler.Loop[*esv1.ClusterExternalSecret]{
		Client: c.Client, Recorder: c.Recorder, Apply: c.applyExternal, Meter: externals,
		New:   func() *esv1.ClusterExternalSecret { return &esv1.ClusterExternalSecret{} },
		Every: func(ces *esv1.ClusterExternalSecret) time.Duration { return every(ces.Spec.RefreshInterval) },
	}
	push := &reconciler.Loop[*esv1alpha1.ClusterPushSecret]{
		Client: c.Client, Recorder: c.Recorder, Apply: c.applyPush, Meter: pushes,
		New:   func() *esv1alpha1.ClusterPushSecret { return &esv1alpha1.ClusterPushSecret{} },
		Every: func(cps *esv1alpha1.ClusterPushSecret) time.Duration { return every(cps.Spec.RefreshInterval) },
	}
	err := ctrl.NewControllerManagedBy(mgr).Named("clusterexternalsecret").WithOptions(reconciler.Options(1)).
		For(&esv1.ClusterExternalSecret{}, builder.WithPredicates(reconciler.Changed())).
		Owns(&esv1.ExternalSecret{}, builder.WithPredicates(reconciler.Changed())).
		WatchesMetadata(&corev1.Namespace{}, c.everyone(func() client.ObjectList { return &esv1.ClusterExternalSecretList{} }), relabelled()).
		Complete(external)
	if err != nil {
		return fmt.Errorf("set up ClusterExternalSecret: %w", err)
	}
	err = ctrl.NewControllerManagedBy(mgr).Named("clusterpushsecret").WithOptions(reconciler.Options(1)).
		For(&esv1alpha1.ClusterPushSecret{}, builder.WithPredicates(reconciler.Changed())).
		Owns(&esv1alpha1.PushSecret{}, builder.WithPredicates(reconciler.Changed())).
		WatchesMetadata(&corev1.Namespace{}, c.everyone(func() client.ObjectList { return &esv1alpha1.ClusterPushSecretList{} }), relabelled()).
		Complete(push)
	if err != nil {
		return fmt.Errorf("set up ClusterPushSecret: %w", err)
	}
	return nil
}

// everyone wakes all objects of a kind.
func (c *Controller) everyone(list func() client.ObjectList) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, _ client.Object) (requests []reconcile.Request) {
		all := list()
		if err := c.Client.List(ctx, all); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "list")
			return nil
		}
		switch l := all.(type) {
		case *esv1.ClusterExternalSecretList:
			for i := range l.Items {
				requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&l.Items[i])})
			}
		case *esv1alpha1.ClusterPushSecretList:
			for i := range l.Items {
				requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&l.Items[i])})
			}
		}
		return requests
	})
}

// relabelled lets through namespaces that come, go, or have other labels.
func relabelled() builder.WatchesOption {
	return builder.WithPredicates(predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return !equality.Semantic.DeepEqual(e.ObjectOld.GetLabels(), e.ObjectNew.GetLabels()) || e.ObjectOld.GetDeletionTimestamp().IsZero() != e.ObjectNew.GetDeletionTimestamp().IsZero()
	}})
}
