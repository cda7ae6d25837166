package reseal

import (
	"context"
	"fmt"
	"time"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	lockstepv1alpha1 "github.com/lockstep-dev/lockstep/apis/lockstep/v1alpha1"
	"github.com/lockstep-dev/lockstep/reconciler"
	"github.com/lockstep-dev/lockstep/reconciler/source"
	"github.com/lockstep-dev/lockstep/sealer"
)

// Controller reconciles Reseals. All fields but the last two are required.
type Controller struct {
	Client    client.Client
	Secrets   client.Reader // Secrets, from the API server
	Recorder  record.EventRecorder
	Ring      *sealer.Keyring
	Sources   *source.Store // what the sources of the cluster hold
	Namespace string        // of the controller and its keys: that of the platform owner

	AllowHTTPCredentials bool             // send credentials over http:// too
	Now                  func() time.Time // the clock; nil is time.Now
}

// +kubebuilder:rbac:groups=lockstep.dev,resources=reseals,verbs=get;list;watch
// +kubebuilder:rbac:groups=lockstep.dev,resources=reseals/status,verbs=patch
// +kubebuilder:rbac:groups=source.toolkit.fluxcd.io,resources=gitrepositories,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=bitnami.com,resources=sealedsecrets,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get
// +kubebuilder:rbac:groups="",namespace=lockstep-system,resources=secrets,verbs=get;list;patch
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch

// Reasons of the Ready condition.
const (
	reasonResealed    = "Resealed"      // every value is on the newest key
	reasonMerging     = "Merging"       // a pull request waits for its merge
	reasonSyncing     = "Syncing"       // the cluster does not hold yet what the branch does
	reasonUnreadable  = "Unreadable"    // some value cannot be sealed again
	reasonRefused     = "PushRefused"   // by a rule of the Git server
	reasonPullRequest = "NoPullRequest" // the forge refuses it
	reasonNoKey       = "NoKey"
	reasonNotAllowed  = "NotAllowed"
	reasonInvalid     = "InvalidSpec"
	reasonSource      = "SourceNotFound"
	reasonCredentials = "CredentialsNotFound"
)

// annotationRequested asks for a look now, as in Flux.
const annotationRequested = "reconcile.fluxcd.io/requestedAt"

// SetupWithManager registers c with mgr.
func (c *Controller) SetupWithManager(mgr ctrl.Manager) error {
	if err := c.answers(mgr); err != nil {
		return fmt.Errorf("set up what answers lockstep keys retire: %w", err)
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("reseal").
		WithOptions(reconciler.Options(1)). // each looks at all values with all processors
		For(&lockstepv1alpha1.Reseal{}, builder.WithPredicates(reconciler.Changed())).
		Watches(&sourcev1.GitRepository{}, handler.EnqueueRequestsFromMapFunc(c.usersOf), builder.WithPredicates(newArtifact())).
		Watches(&bitnamiv1alpha1.SealedSecret{}, c.afterSync(), builder.WithPredicates(newUses())).
		WatchesRawSource(c.newKeys()).
		Complete(c.loop())
}

func (c *Controller) loop() *reconciler.Loop[*lockstepv1alpha1.Reseal] {
	return &reconciler.Loop[*lockstepv1alpha1.Reseal]{
		Client:    c.Client,
		Recorder:  c.Recorder,
		New:       func() *lockstepv1alpha1.Reseal { return &lockstepv1alpha1.Reseal{} },
		Apply:     c.apply,
		Suspended: func(r *lockstepv1alpha1.Reseal) bool { return r.Spec.Suspend || !c.Ring.Loaded() },
		Every: func(r *lockstepv1alpha1.Reseal) time.Duration {
			if r.Spec.Interval == nil {
				return 0
			}
			return r.Spec.Interval.Duration
		},
		Success: func(r *lockstepv1alpha1.Reseal) (string, string) { return reasonResealed, done(r) },
		Observe: func(r *lockstepv1alpha1.Reseal, _ error) {
			r.Status.ObservedGeneration = r.Generation
			r.Status.LastHandledReconcileAt = r.Annotations[annotationRequested]
		},
	}
}

// done says what was reached.
func done(r *lockstepv1alpha1.Reseal) string {
	text := fmt.Sprintf("all %d values at %.12s are sealed with the newest key, %.12s", r.Status.Items, r.Status.Revision, r.Status.Key)
	if n := len(r.Status.Unneeded); n > 0 {
		text += fmt.Sprintf("; nothing needs %d older keys: retire them with lockstep keys retire, or spec.retire", n)
	}
	return text
}

func (c *Controller) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now() //nolint:forbidigo // the default of the parameter
}

const (
	// timeout bounds one run: opening 10,000 values of 4096 bits takes two
	// minutes on one processor.
	timeout = 10 * time.Minute

	// again is how long to wait for what no watch tells of: a merge of which no
	// webhook speaks, and a value that may become known.
	again = time.Minute
)

// apply brings what the branch holds onto the newest key, by way of a commit,
// and then tells which keys nothing needs. All that it has to remember is in
// the status, and each step begins with a look at how things are, so that it
// can be killed anywhere and begin again.
func (c *Controller) apply(ctx context.Context, r *lockstepv1alpha1.Reseal) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	newest, ok := c.Ring.Newest()
	if !ok {
		return reconciler.Wait(reasonNoKey, 0, errNoKey)
	}
	w, err := c.open(ctx, r)
	if err != nil {
		return err
	}
	defer w.repository.Close()
	w.newest = newest
	if err := w.run(ctx); err != nil {
		return err
	}
	if err := outcome(r); err != nil {
		return err
	}
	return c.settle(ctx, r)
}

// outcome says what there is to wait for at the branch.
func outcome(r *lockstepv1alpha1.Reseal) error {
	if n := len(r.Status.Unknown); n > 0 {
		return reconciler.Wait(reasonUnreadable, again, fmt.Errorf("%d values or files cannot be sealed again, the first is %s", n, r.Status.Unknown[0]))
	}
	if len(r.Status.Needed) > 0 && r.Status.Commit != nil {
		return reconciler.Progressing(reasonMerging, again, fmt.Errorf("%d values are sealed again in %s: merge it", items(r.Status.Needed), r.Status.Commit.PullRequest))
	}
	return nil
}

func items(all []lockstepv1alpha1.KeyNeed) int32 {
	n := int32(0)
	for _, k := range all {
		n += k.Items
	}
	return n
}
