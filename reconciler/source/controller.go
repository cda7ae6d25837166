// Package source keeps what Git repositories hold, in memory and by content:
// for each GitRepository the newest tree that could be fetched.
package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/reconciler"
)

// Controller reconciles GitRepositories. The fields of the first block are
// required.
type Controller struct {
	Client   client.Client
	Metadata client.Reader // metadata of Secrets, from a cache
	Secrets  client.Reader // Secrets, from the API server
	Recorder record.EventRecorder
	Store    *Store

	AllowHTTPCredentials bool // send credentials over http:// too
	Workers              int  // repositories worked on at once; 0 means 16
	// MaxGitSize is how many bytes the objects of one fetch may have, which are
	// held in memory while it is made a tree of; 0 means DefaultMaxGitSize.
	MaxGitSize int64
	// Login gets credentials of the cloud in spec.provider. Nil: there is none.
	Login Login

	states states
	pool   pool
	hosts  hosts
}

// +kubebuilder:rbac:groups=source.toolkit.fluxcd.io,resources=gitrepositories,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=source.toolkit.fluxcd.io,resources=gitrepositories/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch

// Condition reasons besides those of Flux's API.
const (
	reasonURL            = sourcev1.URLInvalidReason
	reasonAuthentication = sourcev1.AuthenticationFailedReason
	reasonOperation      = sourcev1.GitOperationFailedReason
	reasonTooLarge       = "ArtifactTooLarge"
	reasonUnsupported    = "UnsupportedField"
)

func (c *Controller) loop() *reconciler.Loop[*sourcev1.GitRepository] {
	return &reconciler.Loop[*sourcev1.GitRepository]{
		Meter:     reconciler.NewDurations(sourcev1.GitRepositoryKind),
		Client:    c.Client,
		Recorder:  c.Recorder,
		New:       func() *sourcev1.GitRepository { return &sourcev1.GitRepository{} },
		Apply:     c.apply,
		Every:     c.every,
		Suspended: func(r *sourcev1.GitRepository) bool { return r.Spec.Suspend },
		Restore:   c.restore,
		// Flux's finalizer is not needed, but taken off what Flux left behind.
		Finalizer: sourcev1.SourceFinalizer,
		Needs:     func(*sourcev1.GitRepository) bool { return false },
		Finalize:  func(context.Context, *sourcev1.GitRepository) error { return nil },
		Gone:      c.gone,
		Success: func(r *sourcev1.GitRepository) (string, string) {
			return meta.SucceededReason, stored(r.Status.Artifact)
		},
		Observe: observe,
		EventReason: func(ready metav1.Condition) string {
			if ready.Status == metav1.ConditionTrue {
				return "NewArtifact"
			}
			return ready.Reason
		},
	}
}

func (c *Controller) every(r *sourcev1.GitRepository) time.Duration {
	if c.states.of(r).doubtful {
		return min(soon, r.Spec.Interval.Duration)
	}
	return r.Spec.Interval.Duration
}

func stored(a *meta.Artifact) string {
	return fmt.Sprintf("stored artifact for revision '%s'", a.Revision)
}

// observe completes the status as Flux's client expects it.
func observe(r *sourcev1.GitRepository, err error) {
	r.Status.ObservedGeneration = r.Generation
	if at, ok := meta.ReconcileAnnotationValue(r.GetAnnotations()); ok {
		r.Status.SetLastHandledReconcileRequest(at)
	}
	outcome(&r.Status.Conditions, r.Generation, r.Status.Artifact, err)
}

// outcome sets the conditions that Flux has besides Ready.
func outcome(conditions *[]metav1.Condition, generation int64, a *meta.Artifact, err error) {
	if err == nil {
		apimeta.RemoveStatusCondition(conditions, sourcev1.FetchFailedCondition)
		apimeta.SetStatusCondition(conditions, metav1.Condition{
			Type: sourcev1.ArtifactInStorageCondition, Status: metav1.ConditionTrue, Reason: meta.SucceededReason,
			Message: stored(a), ObservedGeneration: generation,
		})
		return
	}
	if ready := apimeta.FindStatusCondition(*conditions, reconciler.Ready); ready != nil {
		apimeta.SetStatusCondition(conditions, metav1.Condition{
			Type: sourcev1.FetchFailedCondition, Status: metav1.ConditionTrue, Reason: ready.Reason,
			Message: ready.Message, ObservedGeneration: generation,
		})
	}
}

// apply makes the store hold what the repository holds. On failure the store
// keeps what it has.
func (c *Controller) apply(ctx context.Context, r *sourcev1.GitRepository) error {
	if err := supported(r); err != nil {
		return reconciler.Final(reasonUnsupported, err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout(r))
	defer cancel()
	f, err := c.fetching(ctx, r)
	if err != nil {
		return err
	}
	s, host, key := c.states.of(r), hostOf(r.Spec.URL), client.ObjectKeyFromObject(r)
	if !c.hosts.enter(host, key) {
		return reconciler.ErrPending
	}
	defer c.hosts.leave(host)
	snapshot, err := s.refresh(ctx, f)
	verification(r, s.verified, err)
	if err != nil {
		return classify(r, err, f)
	}
	if snapshot, err = c.include(ctx, r, snapshot); err != nil {
		return err
	}
	c.keep(r, snapshot)
	return nil
}

// verification sets what was found of the signatures.
func verification(r *sourcev1.GitRepository, found string, err error) {
	conditions := &r.Status.Conditions
	var refused *untrusted
	switch {
	case r.Spec.Verification == nil:
		apimeta.RemoveStatusCondition(conditions, sourcev1.SourceVerifiedCondition)
		r.Status.SourceVerificationMode = nil
	case errors.As(err, &refused):
		apimeta.SetStatusCondition(conditions, metav1.Condition{
			Type: sourcev1.SourceVerifiedCondition, Status: metav1.ConditionFalse, Reason: refused.reason,
			Message: refused.Error(), ObservedGeneration: r.Generation,
		})
	case err == nil:
		apimeta.SetStatusCondition(conditions, metav1.Condition{
			Type: sourcev1.SourceVerifiedCondition, Status: metav1.ConditionTrue, Reason: meta.SucceededReason,
			Message: found, ObservedGeneration: r.Generation,
		})
		mode := r.Spec.Verification.Mode
		r.Status.SourceVerificationMode = &mode
	}
}

// keep publishes a snapshot, if it is news, and describes it in the status.
func (c *Controller) keep(r *sourcev1.GitRepository, s Snapshot) {
	if was, ok := c.Store.Get(sourcev1.GitRepositoryKind, r.Namespace, r.Name); !ok || was != s {
		c.Store.Put(sourcev1.GitRepositoryKind, r.Namespace, r.Name, s)
	}
	r.Status.ObservedIgnore, r.Status.ObservedSparseCheckout = r.Spec.Ignore, r.Spec.SparseCheckout
	r.Status.ObservedRecurseSubmodules = r.Spec.RecurseSubmodules
	r.Status.Artifact = describe(sourcev1.GitRepositoryKind, client.ObjectKeyFromObject(r), s, []*meta.Artifact{r.Status.Artifact})
}

// describe describes a snapshot of a source, as one of before does if it is
// the same.
func describe(kind string, of types.NamespacedName, s Snapshot, before []*meta.Artifact) *meta.Artifact {
	for _, a := range before {
		if a != nil && a.Revision == s.Revision && a.Digest == s.Tree.Digest() {
			return a
		}
	}
	path, size := fmt.Sprintf("%s/%s/%s/%s", strings.ToLower(kind), of.Namespace, of.Name, strings.TrimPrefix(s.Tree.Digest(), "sha256:")), s.Tree.Size()
	return &meta.Artifact{
		Path: path,
		// Nothing is served there: the tree does not leave the process.
		URL:      "lockstep:///" + path,
		Revision: s.Revision, Digest: s.Tree.Digest(), Size: &size, LastUpdateTime: metav1.Now(),
	}
}

// defaultTimeout is Flux's.
const defaultTimeout = time.Minute

func timeout(r *sourcev1.GitRepository) time.Duration {
	if r.Spec.Timeout != nil && r.Spec.Timeout.Duration > 0 {
		return r.Spec.Timeout.Duration
	}
	return defaultTimeout
}

func (c *Controller) gone(key types.NamespacedName) {
	c.states.forget(key)
	c.pool.forget(key)
	c.Store.Delete(sourcev1.GitRepositoryKind, key.Namespace, key.Name)
}

// noSSHConfig keeps ssh_config files from having a say. It is done once: another
// controller of the process may be connecting.
var noSSHConfig = sync.OnceFunc(func() { gitssh.DefaultSSHConfig = nil })

// SetupWithManager registers c with mgr.
func (c *Controller) SetupWithManager(mgr ctrl.Manager) error {
	noSSHConfig()
	if err := index(mgr); err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("gitrepository").
		WithOptions(reconciler.Options(cmp.Or(c.Workers, gitWorkers))).
		For(&sourcev1.GitRepository{}, builder.WithPredicates(reconciler.Changed())).
		WatchesMetadata(&corev1.Secret{}, c.usersOfSecret()).
		WatchesRawSource(c.Store.Watch(c.includers)).
		WatchesRawSource(c.hosts.source()).
		Complete(c.loop())
}

// gitWorkers is enough for some servers that never end to answer, each of
// which holds perHost of them.
const gitWorkers = 16

func workers(n int) int {
	if n == 0 {
		return 4
	}
	return n
}
