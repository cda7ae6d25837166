// Package push writes the values of Secrets to stores, as PushSecrets say.
package push

import (
	"context"
	"crypto/sha3"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1alpha1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1alpha1"
	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/externalsecrets/generators"
	"github.com/lockstep-dev/lockstep/externalsecrets/queue"
	"github.com/lockstep-dev/lockstep/externalsecrets/stores"
	"github.com/lockstep-dev/lockstep/externalsecrets/template"
	"github.com/lockstep-dev/lockstep/externalsecrets/texts"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/reconciler"
)

// Controller reconciles PushSecrets. All fields but Recorder, Queue and Workers
// are required.
type Controller struct {
	Client   client.Client // reads PushSecrets and stores from its cache
	Reader   client.Reader // reads Secrets and ConfigMaps, without a cache
	Metadata client.Reader // cache of the metadata of Secrets and Namespaces
	Recorder record.EventRecorder
	Stores   *stores.Stores
	Queue    *queue.Queue // of all who use Stores; nil makes one
	Makers   *generators.Generators
	Workers  int // PushSecrets worked on at once; 0 means 16

	line  *queue.Queue
	alarm alarm
	told  generators.Told
	meter reconciler.Meter
}

// +kubebuilder:rbac:groups=external-secrets.io,resources=pushsecrets,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=external-secrets.io,resources=pushsecrets/status,verbs=patch
// +kubebuilder:rbac:groups=external-secrets.io,resources=secretstores;clustersecretstores,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets;configmaps;namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch

// Messages of Ready=True, as External Secrets Operator words them.
const (
	messageSynced  = "PushSecret synced successfully"
	messageDeleted = "the Secret is gone, and what was pushed was deleted from the stores"
)

// defaultInterval is that of External Secrets Operator.
const defaultInterval = time.Hour

// retryInterval is how soon to look again when something is wrong that no
// watch tells about.
const retryInterval = time.Minute

// busyInterval is how soon to delete what a busy store has.
const busyInterval = time.Second

func (c *Controller) loop() *reconciler.Loop[*esv1alpha1.PushSecret] {
	return &reconciler.Loop[*esv1alpha1.PushSecret]{
		Client: c.Client, Recorder: c.Recorder, Apply: c.apply, Every: every, Meter: c.meter,
		New:       func() *esv1alpha1.PushSecret { return &esv1alpha1.PushSecret{} },
		Finalizer: esv1alpha1.Finalizer,
		Needs:     func(ps *esv1alpha1.PushSecret) bool { return ps.Spec.DeletionPolicy == esv1alpha1.DeletionDelete },
		Sheds:     true,
		Finalize:  c.finalize,
		Gone:      c.told.Forget,
		Success: func(ps *esv1alpha1.PushSecret) (string, string) {
			if gone(ps) {
				return esv1alpha1.ReasonSourceDeleted, messageDeleted
			}
			return esv1alpha1.ReasonSynced, messageSynced
		},
	}
}

// finalize deletes from the stores what was pushed.
func (c *Controller) finalize(ctx context.Context, ps *esv1alpha1.PushSecret) error {
	r := &run{Controller: c, ps: ps}
	err := r.removeAll(ctx, func(string) bool { return false })
	if (errors.Is(err, stores.ErrNoStore) || errors.Is(err, stores.ErrReference)) && r.namespaceEnds(ctx) {
		// The store, or its credentials, went first and will not come back: the
		// namespace must not wait for them for ever.
		if c.Recorder != nil {
			c.Recorder.Event(ps, corev1.EventTypeWarning, esv1alpha1.ReasonErrored, "the namespace is deleted, and the store before this: what was pushed stays there")
		}
		return nil
	}
	if errors.Is(err, stores.ErrNoStore) || errors.Is(err, stores.ErrReference) {
		err = fmt.Errorf("%w; or set spec.deletionPolicy to None, which leaves in the store what was pushed", err)
	}
	return classify(err)
}

func (r *run) namespaceEnds(ctx context.Context) bool {
	ns := &metav1.PartialObjectMetadata{}
	ns.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return r.Metadata.Get(ctx, client.ObjectKey{Name: r.ps.Namespace}, ns) == nil && !ns.DeletionTimestamp.IsZero()
}

// noSource is what status.sources says when there was nothing to push.
const noSource = "none"

func gone(ps *esv1alpha1.PushSecret) bool { return ps.Status.Sources == noSource }

// apply brings the stores in line with the Secret.
func (c *Controller) apply(ctx context.Context, ps *esv1alpha1.PushSecret) error {
	r := &run{Controller: c, ps: ps, now: time.Now()} //nolint:forbidigo // the Loop has no clock of its own
	return classify(r.apply(ctx))
}

func (r *run) apply(ctx context.Context) error {
	ps := r.ps
	if err := complete(&ps.Spec); err != nil {
		return err
	}
	all, err := r.stores(ctx)
	if err != nil {
		return err
	}
	none, err := unused(&ps.Spec, all)
	if err != nil {
		return err
	}
	var secrets []*metav1.PartialObjectMetadata
	if ps.Spec.Selector.Secret != nil {
		if secrets, err = r.source(ctx); err != nil {
			return err
		}
		if len(secrets) == 0 {
			return r.withoutSource(ctx)
		}
	}
	sources := r.sources(ctx, secrets, all)
	if !r.due(sources) {
		return nil
	}
	values, err := r.values(ctx, secrets)
	if err != nil {
		return err
	}
	if err := r.pushAll(ctx, all, values); err != nil {
		return err
	}
	err = r.removeAll(ctx, func(name string) bool {
		return slices.ContainsFunc(all, func(s storeObject) bool { return s.ref.Kind+"/"+s.ref.Name == name })
	})
	if err != nil {
		return err
	}
	for _, field := range none {
		r.warn(field + ": none of the stores that spec.secretStoreRefs choose has these labels: nothing of this entry was pushed; label a store, or remove the entry")
	}
	ps.Status.RefreshTime = &metav1.Time{Time: r.now}
	ps.Status.SyncedResourceVersion, ps.Status.Sources = version(ps), sources
	return nil
}

// pushAll writes to every store, also if another fails.
func (r *run) pushAll(ctx context.Context, all []storeObject, values map[string][]byte) error {
	jobs, failed := r.jobs(ctx, all, values)
	defer end(jobs)
	if errors.Is(failed, queue.ErrBusy) {
		return reconciler.ErrPending // nothing was written, and we are woken
	}
	for _, j := range jobs {
		if err := r.push(ctx, j); err != nil {
			failed = both(failed, err)
		}
	}
	return failed
}

// withoutSource follows the deletion policy when the Secret is not there.
func (r *run) withoutSource(ctx context.Context) error {
	if r.ps.Spec.DeletionPolicy == esv1alpha1.DeletionDelete && (len(r.ps.Status.SyncedPushSecrets) > 0 || gone(r.ps)) {
		if err := r.removeAll(ctx, func(string) bool { return false }); err != nil {
			return err
		}
		r.ps.Status.Sources = noSource
		return nil
	}
	if s := r.ps.Spec.Selector.Secret; s.Name != "" {
		return fmt.Errorf("spec.selector.secret.name: %w: Secret %q does not exist: create it; what the stores have stays", errNoSource, s.Name)
	}
	return fmt.Errorf("spec.selector.secret.selector: %w: no Secret of this namespace matches: label one; what the stores have stays", errNoSource)
}

// complete refuses specs that the CRD cannot.
func complete(spec *esv1alpha1.PushSecretSpec) error {
	s := spec.Selector
	switch {
	case (s.Secret == nil) == (s.GeneratorRef == nil):
		return fmt.Errorf("spec.selector: %w: set secret or generatorRef", providers.ErrInvalid)
	case s.Secret != nil && (s.Secret.Name == "") == (s.Secret.Selector == nil):
		return fmt.Errorf("spec.selector.secret: %w: set name or selector", providers.ErrInvalid)
	case len(spec.Data) == 0 && len(spec.DataTo) == 0:
		return fmt.Errorf("spec.data: %w: set data or dataTo: there is nothing to push", providers.ErrInvalid)
	}
	return nil
}

// sources changes whenever what is pushed does, or where.
func (r *run) sources(ctx context.Context, secrets []*metav1.PartialObjectMetadata, all []storeObject) string {
	var parts []string
	for _, s := range secrets {
		parts = append(parts, string(s.UID)+"."+s.ResourceVersion)
	}
	for _, s := range all {
		parts = append(parts, s.ref.Kind+"/"+s.ref.Name+"="+r.Stores.Version(ctx, s.ref.Kind, r.ps.Namespace, s.ref.Name))
	}
	for i := range r.ps.Spec.DataTo {
		ref := r.ps.Spec.DataTo[i].StoreRef
		if ref == nil || ref.LabelSelector == nil {
			continue
		}
		for _, s := range all { // labels are in no version
			if fits, err := chooses("", ref, s); err == nil && fits {
				parts = append(parts, fmt.Sprintf("%d=%s/%s", i, s.ref.Kind, s.ref.Name))
			}
		}
	}
	return hash(strings.Join(parts, " "))
}

// due reports whether the stores must be looked at.
func (r *run) due(sources string) bool {
	s := &r.ps.Status
	if s.RefreshTime.IsZero() || s.Sources != sources || s.SyncedResourceVersion != version(r.ps) || !meta.IsStatusConditionTrue(r.ps.GetConditions(), reconciler.Ready) {
		return true
	}
	every := lives(r.ps)
	return every > 0 && r.now.Sub(s.RefreshTime.Time) >= every*9/10 // the Loop comes up to 5 % early
}

func interval(ps *esv1alpha1.PushSecret) time.Duration {
	if ps.Spec.RefreshInterval == nil {
		return defaultInterval
	}
	return ps.Spec.RefreshInterval.Duration
}

func every(ps *esv1alpha1.PushSecret) time.Duration {
	if gone(ps) {
		return 0
	}
	return max(lives(ps), 0)
}

// lives is how long after a push the next one comes: at the interval, or before
// what a generator made ends. 0 or less is never.
func lives(ps *esv1alpha1.PushSecret) time.Duration {
	every, renew := interval(ps), ps.Status.RenewTime
	if every <= 0 || renew == nil || ps.Status.RefreshTime == nil {
		return every
	}
	return min(every, max(renew.Sub(ps.Status.RefreshTime.Time), time.Second))
}

func version(ps *esv1alpha1.PushSecret) string {
	type metadata struct{ annotations, labels map[string]string }
	return fmt.Sprintf("%d-%s", ps.Generation, hash(fmt.Sprintf("%+v", metadata{ps.Annotations, ps.Labels})))
}

// hash is SHA3-224 in hex; of names and versions only, never of a value.
func hash(text string) string {
	sum := sha3.Sum224([]byte(text))
	return hex.EncodeToString(sum[:])
}

// classify turns a failure into an outcome of the Loop.
func classify(err error) error {
	var throttled providers.Throttled
	switch {
	case err == nil, errors.Is(err, reconciler.ErrPending):
		return err
	case errors.Is(err, queue.ErrBusy):
		return reconciler.Wait(esv1alpha1.ReasonErrored, busyInterval, err)
	case errors.Is(err, queue.ErrDown):
		return reconciler.Wait(esv1alpha1.ReasonErrored, retryInterval, err) // and we are woken when it is back
	case errors.Is(err, errNoSource):
		return reconciler.Wait(esv1alpha1.ReasonErrored, 0, err) // the watch tells when it comes
	case errors.As(err, &throttled) && throttled.After > 0:
		return reconciler.Wait(esv1alpha1.ReasonErrored, throttled.After, err)
	}
	for _, class := range []error{
		providers.ErrInvalid, providers.ErrDenied, providers.ErrNotFound, providers.ErrForeign, errReadOnly, errNoKey,
		stores.ErrNoStore, stores.ErrNotAdmitted, stores.ErrKeyPolicy, stores.ErrReference, stores.ErrOtherClass,
		template.ErrInvalid, template.ErrLimit, texts.ErrSource, fetch.ErrMalformed,
		generators.ErrInvalid, generators.ErrMissing, generators.ErrUnsupported,
	} {
		if errors.Is(err, class) {
			return reconciler.Wait(esv1alpha1.ReasonErrored, retryInterval, err)
		}
	}
	return reconciler.Temporary(esv1alpha1.ReasonErrored, err)
}
