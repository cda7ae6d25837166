package pull

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/externalsecrets/queue"
	"github.com/lockstep-dev/lockstep/externalsecrets/template"
	"github.com/lockstep-dev/lockstep/externalsecrets/texts"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/reconciler"
)

// Messages of Ready=True, as External Secrets Operator words them.
const (
	messageSynced   = "secret synced"
	messageRetained = "secret retained due to DeletionPolicy"
	messageDeleted  = "secret deleted due to DeletionPolicy"
)

// run is one Apply of one ExternalSecret.
type run struct {
	*Controller
	es     *esv1.ExternalSecret
	memory *memory
	plan   *fetch.Plan
	live   *metav1.PartialObjectMetadata // the target; nil if there is none
	stores string                        // versions of the stores
	early  bool                          // read before its time, because it costs nothing
	hinted bool                          // read before its time, because there is something new
	now    time.Time
}

// apply brings the target of an ExternalSecret in line with its stores.
func (c *Controller) apply(ctx context.Context, es *esv1.ExternalSecret) error {
	plan, err := fetch.New(&es.Spec)
	if err != nil {
		return reconciler.Final(esv1.ReasonSecretSyncedError, err)
	}
	if err := template.Check(es.Spec.Target.Template); err != nil {
		return reconciler.Final(esv1.ReasonSecretSyncedError, err)
	}
	if err := fits(es); err != nil {
		return reconciler.Final(esv1.ReasonSecretSyncedError, err)
	}
	windows, err := newWindows(es.Spec.SyncWindows)
	if err != nil {
		return reconciler.Final(esv1.ReasonSecretSyncedError, err)
	}
	live, err := c.live(ctx, es.Namespace, targetName(es))
	if err != nil {
		return reconciler.Temporary(esv1.ReasonSecretSyncedError, err)
	}
	r := &run{Controller: c, es: es, memory: c.memories.of(es), plan: plan, live: live, stores: c.versions(ctx, es), now: time.Now()} //nolint:forbidigo // the Loop has no clock of its own
	r.memory.windows = windows
	if live != nil {
		r.memory.seen = live.UID
	}
	if left := r.memory.truce.Sub(r.now); left > 0 {
		return fought(es, left)
	}
	action := decide(es, r.memory, live, r.stores, r.now)
	if r.asked(action) {
		action = refresh
	}
	switch action {
	case refresh:
		err = r.refresh(ctx)
	case repair:
		if r.memory.fights(r.now) {
			return fought(es, truceTime)
		}
		err = r.write(ctx)
	case nothing:
	}
	return r.outcome(err)
}

// outcome is what the Loop is told. Others that read the same take along who
// failed, and wake it if they find what it misses.
func (r *run) outcome(err error) error {
	if err == nil {
		r.memory.failures, r.memory.tried = 0, ""
		return nil
	}
	if errors.Is(err, reconciler.ErrPending) {
		return err
	}
	err = classify(r.es, r.memory.failures, err)
	r.memory.failures++
	r.memory.tried = r.version()
	var wait *reconciler.Error
	errors.As(err, &wait)
	if wait != nil && wait.After > 0 {
		r.queue.Expect(client.ObjectKeyFromObject(r.es), queue.Expectation{Due: r.now.Add(wait.After), Every: wait.After, Failed: true, Missing: errors.Is(err, providers.ErrNotFound)})
	}
	return err
}

// versions identifies the stores of es as they are now.
func (c *Controller) versions(ctx context.Context, es *esv1.ExternalSecret) string {
	var all []string
	for _, ref := range fetch.Stores(&es.Spec) {
		all = append(all, c.Stores.Version(ctx, ref.Kind, es.Namespace, ref.Name))
	}
	return strings.Join(all, " ")
}

// asked reports whether there is a reason to read that decide does not know:
// answers have come, or it saves someone a request to read now.
func (r *run) asked(found action) bool {
	waits, early, hinted := r.tickets.has(client.ObjectKeyFromObject(r.es), r.version())
	r.early, r.hinted = early, hinted
	again := r.es.Spec.RefreshPolicy != esv1.RefreshCreatedOnce && r.es.Spec.RefreshPolicy != esv1.RefreshOnChange && r.memory.windows.admits(r.now)
	return waits || again && (hinted || early && found == nothing)
}

// version is what answers of stores are for.
func (r *run) version() string { return syncedVersion(r.es) + " " + r.stores }

// refresh reads the stores, and makes the target what they hold. Reading takes
// its time, and so the answers come to a later run.
func (r *run) refresh(ctx context.Context) error {
	object := client.ObjectKeyFromObject(r.es)
	results, fresh := r.tickets.take(object, r.version())
	if fresh != nil {
		lane, reads := r.lane(), r.plan.Reads
		r.queue.Submit(ctx, queue.Request{Object: object, Reads: r.plan.Stored(), Lane: lane, Every: r.rhythm(), Have: r.have(lane)}, func(results map[fetch.Read]fetch.Result) {
			// Generators take their time, and the queue's is for all.
			go func() {
				r.generate(context.WithoutCancel(ctx), object.Namespace, reads, results)
				r.tickets.put(object, fresh, results)
				r.alarm.set(object, lane, 0)
			}()
		})
	}
	if results == nil {
		return reconciler.ErrPending
	}
	if anyUnchanged(results) {
		return r.unchanged(ctx, results)
	}
	at := r.askedAt(results)
	values, err := r.plan.Values(results, deletion(r.es) != esv1.DeletionRetain)
	if err != nil {
		return err
	}
	r.miss(results)
	before := r.es.Status.Target.DeepCopy()
	switch {
	case len(values) == 0 && deletion(r.es) == esv1.DeletionDelete:
		err = r.delete(ctx)
	case len(values) == 0 && deletion(r.es) == esv1.DeletionRetain:
		r.memory.ready = outcome{esv1.ReasonSecretSynced, messageRetained}
	default:
		err = r.render(ctx, values, results)
	}
	if err != nil {
		return err
	}
	r.renew(results)
	r.warn(results)
	r.remember(results)
	r.refreshed(at, equality.Semantic.DeepEqual(before, r.es.Status.Target))
	return nil
}

// askedAt is when the store was asked for the oldest of results: the next read
// counts from then, or values would get older than the interval.
func (r *run) askedAt(results map[fetch.Read]fetch.Result) time.Time {
	at := r.now
	for _, result := range results {
		if !result.At.IsZero() && result.At.Before(at) {
			at = result.At
		}
	}
	return at
}

// generate adds what generators make to what was read.
func (c *Controller) generate(ctx context.Context, namespace string, reads []fetch.Read, results map[fetch.Read]fetch.Result) {
	for _, read := range reads {
		if read.Generator.Kind == "" {
			continue
		}
		made, err := c.Makers.Generate(ctx, namespace, read.Generator)
		if made.Values == nil {
			made.Values = map[string]providers.Value{}
		}
		results[read] = fetch.Result{Values: made.Values, Until: made.Until, Warn: made.Warnings, Err: err}
	}
}

// renew notes by when values that end must be made anew.
func (r *run) renew(results map[fetch.Read]fetch.Result) {
	r.es.Status.RenewTime = nil
	for _, result := range results {
		if result.Until.IsZero() {
			continue
		}
		if at := metav1.NewTime(providers.Renewal(r.now, result.Until)); r.es.Status.RenewTime == nil || at.Before(r.es.Status.RenewTime) {
			r.es.Status.RenewTime = &at
		}
	}
}

// lane is how urgent the reads are.
func (r *run) lane() queue.Lane {
	switch {
	case r.memory.tried == r.version(): // and failed: nobody waits for this very moment
		return queue.Periodic
	case r.es.Status.RefreshTime.IsZero(), r.es.Status.SyncedResourceVersion != syncedVersion(r.es):
		return queue.First
	case r.hinted, !r.early && !due(r.es, r.memory, r.stores, r.now):
		return queue.Repair
	default:
		return queue.Periodic
	}
}

// rhythm is how often the stores are read; 0 if only when something changes.
func (r *run) rhythm() time.Duration {
	switch {
	case r.memory.failures > 0:
		return retryAfter(r.es, r.memory.failures-1)
	case periodic(r.es):
		return interval(r.es)
	default:
		return 0
	}
}

// refreshed notes that the stores were read. The status learns of it only now
// and then if nothing else has changed: see docs/decisions.
func (r *run) refreshed(at time.Time, same bool) {
	r.memory.read = at
	version := syncedVersion(r.es)
	last := r.es.Status.RefreshTime
	if !same || last.IsZero() || r.es.Status.SyncedResourceVersion != version || at.Sub(last.Time) >= coarse(interval(r.es)) || !ready(r.es) {
		r.es.Status.RefreshTime = &metav1.Time{Time: at}
	}
	r.es.Status.SyncedResourceVersion = version
	r.memory.synced, r.memory.stores = version, r.stores
}

// render makes the content of the target out of values, which are of results,
// and writes it. What no Secret can hold is not sent.
func (r *run) render(ctx context.Context, values map[string][]byte, results map[fetch.Read]fetch.Result) error {
	t := r.es.Spec.Target.Template
	sources, err := texts.Read(ctx, r.Reader, r.es.Namespace, t)
	if err != nil {
		return err
	}
	out, err := template.Render(ctx, t, sources, values)
	if err != nil {
		return err
	}
	if policy(r.es) != esv1.CreateNone {
		if err := r.plan.Fits(targetName(r.es), out.Data, results); err != nil {
			return err
		}
	}
	if t == nil {
		out.Labels, out.Annotations = inherited(r.es)
	}
	r.memory.desired, r.memory.synced = out, ""
	r.memory.ready = outcome{esv1.ReasonSecretSynced, messageSynced}
	return r.write(ctx)
}

// delete removes the target when the store has none of the values.
func (r *run) delete(ctx context.Context) error {
	if policy(r.es) != esv1.CreateOwner {
		return reconciler.Final(esv1.ReasonSecretSyncedError, fmt.Errorf(
			"spec.target.deletionPolicy: the store has none of the values, and Delete only deletes a Secret that the ExternalSecret owns: set creationPolicy: Owner, or another deletionPolicy"))
	}
	if err := r.remove(ctx, r.es, targetName(r.es)); err != nil {
		return err
	}
	r.memory.desired, r.memory.ready = nil, outcome{esv1.ReasonSecretDeleted, messageDeleted}
	r.es.Status.Target, r.es.Status.Binding = nil, esv1.Binding{}
	return nil
}
