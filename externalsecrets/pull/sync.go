package pull

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/externalsecrets/queue"
	"github.com/lockstep-dev/lockstep/externalsecrets/template"
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
	now    time.Time
}

// apply brings the target of an ExternalSecret in line with its stores.
func (c *Controller) apply(ctx context.Context, es *esv1.ExternalSecret) error {
	plan, err := fetch.New(&es.Spec)
	if err != nil {
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
	if action != refresh && r.asked(action) {
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
	return classify(es, err)
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
	waits, early := r.tickets.has(client.ObjectKeyFromObject(r.es), r.version())
	return waits || early && found == nothing && periodic(r.es) && r.memory.windows.admits(r.now)
}

// version is what answers of stores are for.
func (r *run) version() string { return syncedVersion(r.es) + " " + r.stores }

// refresh reads the stores, and makes the target what they hold. Reading takes
// its time, and so the answers come to a later run.
func (r *run) refresh(ctx context.Context) error {
	object := client.ObjectKeyFromObject(r.es)
	results, fresh := r.tickets.take(object, r.version())
	if fresh != nil {
		lane := r.lane()
		r.queue.Submit(ctx, queue.Request{Object: object, Reads: r.plan.Reads, Lane: lane}, func(results map[fetch.Read]fetch.Result) {
			r.tickets.put(object, fresh, results)
			r.alarm.set(object, lane, 0)
		})
	}
	if results == nil {
		return reconciler.ErrPending
	}
	values, err := r.plan.Values(results, deletion(r.es) != esv1.DeletionRetain)
	if err != nil {
		return err
	}
	before := r.es.Status.Target.DeepCopy()
	switch {
	case len(values) == 0 && deletion(r.es) == esv1.DeletionDelete:
		err = r.delete(ctx)
	case len(values) == 0 && deletion(r.es) == esv1.DeletionRetain:
		r.memory.ready = outcome{esv1.ReasonSecretSynced, messageRetained}
	default:
		err = r.render(ctx, values)
	}
	if err != nil {
		return err
	}
	r.refreshed(equality.Semantic.DeepEqual(before, r.es.Status.Target))
	return nil
}

// lane is how urgent the reads are.
func (r *run) lane() queue.Lane {
	switch {
	case r.es.Status.RefreshTime.IsZero(), r.es.Status.SyncedResourceVersion != syncedVersion(r.es):
		return queue.First
	case !due(r.es, r.memory, r.stores, r.now):
		return queue.Repair
	default:
		return queue.Periodic
	}
}

// refreshed notes that the stores were read. The status learns of it only now
// and then if nothing else has changed: see docs/decisions.
func (r *run) refreshed(same bool) {
	r.memory.read = r.now
	version := syncedVersion(r.es)
	last := r.es.Status.RefreshTime
	if !same || last.IsZero() || r.es.Status.SyncedResourceVersion != version || r.now.Sub(last.Time) >= coarse(interval(r.es)) || !ready(r.es) {
		r.es.Status.RefreshTime = &metav1.Time{Time: r.now}
	}
	r.es.Status.SyncedResourceVersion = version
	r.memory.synced, r.memory.stores = version, r.stores
}

// render makes the content of the target out of values, and writes it.
func (r *run) render(ctx context.Context, values map[string][]byte) error {
	t := r.es.Spec.Target.Template
	sources, err := r.sources(ctx, t)
	if err != nil {
		return err
	}
	out, err := template.Render(ctx, t, sources, values)
	if err != nil {
		return err
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

// errSource says that something that templateFrom names is missing.
var errSource = errors.New("template not found")

// sources reads what templateFrom names, out of the object's own namespace.
func (r *run) sources(ctx context.Context, t *esv1.Template) ([]template.Source, error) {
	if t == nil {
		return nil, nil
	}
	var all []template.Source
	for i := range t.TemplateFrom {
		from := &t.TemplateFrom[i]
		base := template.Source{
			Field:  fmt.Sprintf("%s.templateFrom[%d]", template.Field, i),
			Target: from.Target,
			Decode: func(value []byte) ([]byte, error) { return fetch.Decode(from.ValuesDecodingStrategy, value) },
		}
		for _, ref := range []struct {
			kind string
			ref  *esv1.TemplateRef
		}{{"ConfigMap", from.ConfigMap}, {"Secret", from.Secret}} {
			if ref.ref == nil {
				continue
			}
			found, err := r.source(ctx, base, ref.kind, ref.ref)
			if err != nil {
				return nil, err
			}
			all = append(all, found...)
		}
		if from.Literal != nil {
			literal := base
			literal.Field, literal.Text = base.Field+".literal", *from.Literal
			all = append(all, literal)
		}
	}
	return all, nil
}

// source reads the items of one ConfigMap or Secret.
func (r *run) source(ctx context.Context, base template.Source, kind string, ref *esv1.TemplateRef) ([]template.Source, error) {
	field := fmt.Sprintf("%s.%s", base.Field, strings.ToLower(kind[:1])+kind[1:])
	texts, err := r.texts(ctx, kind, ref.Name)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("%s: %w: %s %q does not exist: create it, or correct the name", field, errSource, kind, ref.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: read %s %q: %w", field, kind, ref.Name, err)
	}
	var all []template.Source
	for i, item := range ref.Items {
		s := base
		s.Field = fmt.Sprintf("%s.items[%d]", field, i)
		text, ok := texts[item.Key]
		if !ok {
			return nil, fmt.Errorf("%s: %w: %s %q has no key %q: add it, or correct the key", s.Field, errSource, kind, ref.Name, item.Key)
		}
		s.Text = text
		if item.TemplateAs != esv1.TemplateAsKeysAndValues {
			s.Key = item.Key
		}
		all = append(all, s)
	}
	return all, nil
}

func (r *run) texts(ctx context.Context, kind, name string) (map[string]string, error) {
	key := client.ObjectKey{Namespace: r.es.Namespace, Name: name}
	if kind == "ConfigMap" {
		cm := &corev1.ConfigMap{}
		err := r.Reader.Get(ctx, key, cm)
		return cm.Data, err
	}
	secret := &corev1.Secret{}
	if err := r.Reader.Get(ctx, key, secret); err != nil {
		return nil, err
	}
	texts := make(map[string]string, len(secret.Data))
	for k, v := range secret.Data {
		texts[k] = string(v)
	}
	return texts, nil
}
