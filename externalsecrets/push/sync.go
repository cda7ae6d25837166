package push

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	esv1alpha1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1alpha1"
	"github.com/lockstep-dev/lockstep/externalsecrets/stores"
	"github.com/lockstep-dev/lockstep/externalsecrets/template"
	"github.com/lockstep-dev/lockstep/externalsecrets/texts"
	"github.com/lockstep-dev/lockstep/providers"
)

// Errors that classify knows, besides those of other packages.
var (
	errNoSource = errors.New("no such Secret")
	errReadOnly = errors.New("store cannot be written")
)

// run is one Apply of one PushSecret.
type run struct {
	*Controller
	ps  *esv1alpha1.PushSecret
	now time.Time
}

// source is what is pushed: the Secrets, by metadata.
func (r *run) source(ctx context.Context) ([]*metav1.PartialObjectMetadata, error) {
	s := r.ps.Spec.Selector.Secret
	if s.Selector == nil {
		o := &metav1.PartialObjectMetadata{}
		o.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
		err := r.Metadata.Get(ctx, client.ObjectKey{Namespace: r.ps.Namespace, Name: s.Name}, o)
		if apierrors.IsNotFound(err) || err == nil && !o.DeletionTimestamp.IsZero() {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("look at Secret %q: %w", s.Name, err)
		}
		return []*metav1.PartialObjectMetadata{o}, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(s.Selector)
	if err != nil {
		return nil, fmt.Errorf("spec.selector.secret.selector: %w: it is not a selector: correct it", providers.ErrInvalid)
	}
	var list metav1.PartialObjectMetadataList
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	// Never without the namespace: a label is no right to read a Secret.
	if err := r.Metadata.List(ctx, &list, client.InNamespace(r.ps.Namespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return nil, fmt.Errorf("list Secrets: %w", err)
	}
	var found []*metav1.PartialObjectMetadata
	for i := range list.Items {
		found = append(found, &list.Items[i])
	}
	slices.SortFunc(found, func(a, b *metav1.PartialObjectMetadata) int { return strings.Compare(a.Name, b.Name) })
	return found, nil
}

// values reads the Secrets, or lets a generator make values, and renders the
// template. Later Secrets win.
func (r *run) values(ctx context.Context, secrets []*metav1.PartialObjectMetadata) (map[string][]byte, error) {
	all := map[string][]byte{}
	r.ps.Status.RenewTime = nil
	if ref := r.ps.Spec.Selector.GeneratorRef; ref != nil {
		made, err := r.Makers.Generate(ctx, r.ps.Namespace, *ref)
		if err != nil {
			return nil, fmt.Errorf("spec.selector.generatorRef: %w", err)
		}
		for _, warning := range r.told.News(r.ps, made.Warnings) {
			r.warn("spec.selector.generatorRef: " + warning)
		}
		for key, value := range made.Values {
			all[key] = value.Bytes()
		}
		if !made.Until.IsZero() {
			r.ps.Status.RenewTime = &metav1.Time{Time: providers.Renewal(r.now, made.Until)}
		}
	}
	for _, s := range secrets {
		secret := &corev1.Secret{}
		if err := r.Reader.Get(ctx, client.ObjectKeyFromObject(s), secret); err != nil {
			return nil, fmt.Errorf("read Secret %q: %w", s.Name, err)
		}
		maps.Copy(all, secret.Data)
	}
	t := r.ps.Spec.Template
	if t == nil {
		return all, nil
	}
	sources, err := texts.Read(ctx, r.Reader, r.ps.Namespace, t)
	if err != nil {
		return nil, err
	}
	out, err := template.Render(ctx, t, sources, all)
	if err != nil {
		return nil, err
	}
	return out.Data, nil
}

// stores are those that the spec names, each once.
func (r *run) stores(ctx context.Context) ([]storeObject, error) {
	var all []storeObject
	for i := range r.ps.Spec.SecretStoreRefs {
		ref := &r.ps.Spec.SecretStoreRefs[i]
		field := fmt.Sprintf("spec.secretStoreRefs[%d]", i)
		if ref.Name == "" && ref.LabelSelector == nil {
			return nil, fmt.Errorf("%s: %w: set name or labelSelector", field, providers.ErrInvalid)
		}
		chosen, err := r.chosen(ctx, field, ref)
		if err != nil {
			return nil, err
		}
		for _, store := range chosen {
			if store.field = field + ".labelSelector"; ref.Name != "" {
				store.field = field + ".name"
			}
			if !slices.ContainsFunc(all, func(o storeObject) bool { return o.ref == store.ref }) {
				all = append(all, store)
			}
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("spec.secretStoreRefs: %w: they choose no store: create one, or correct them", stores.ErrNoStore)
	}
	return all, nil
}

// chosen are the stores that a reference means.
func (r *run) chosen(ctx context.Context, field string, ref *esv1alpha1.PushSecretStoreRef) ([]storeObject, error) {
	known, err := r.known(ctx, ref)
	if err != nil {
		return nil, err
	}
	var all []storeObject
	for _, store := range known {
		fits, err := chooses(field, ref, store)
		if err != nil {
			return nil, err
		}
		if fits {
			all = append(all, store)
		}
	}
	return all, nil
}

// known lists the stores that a reference could mean. One that is named is
// known even if it is not there, so that the error names it.
func (r *run) known(ctx context.Context, ref *esv1alpha1.PushSecretStoreRef) ([]storeObject, error) {
	kind := kindOf(ref)
	if ref.Name != "" {
		labels, err := r.labels(ctx, kind, ref.Name)
		return []storeObject{{ref: esv1.SecretStoreRef{Kind: kind, Name: ref.Name}, labels: labels}}, err
	}
	var all []storeObject
	if kind == esv1.ClusterSecretStoreKind {
		var list esv1.ClusterSecretStoreList
		if err := r.Client.List(ctx, &list); err != nil {
			return nil, fmt.Errorf("list stores: %w", err)
		}
		for i := range list.Items {
			all = append(all, storeObject{ref: esv1.SecretStoreRef{Kind: kind, Name: list.Items[i].Name}, labels: list.Items[i].Labels})
		}
		return all, nil
	}
	var list esv1.SecretStoreList
	if err := r.Client.List(ctx, &list, client.InNamespace(r.ps.Namespace)); err != nil {
		return nil, fmt.Errorf("list stores: %w", err)
	}
	for i := range list.Items {
		all = append(all, storeObject{ref: esv1.SecretStoreRef{Kind: kind, Name: list.Items[i].Name}, labels: list.Items[i].Labels})
	}
	return all, nil
}

// labels are those of a store, which dataTo may choose by; none if it is not
// there.
func (r *run) labels(ctx context.Context, kind, name string) (map[string]string, error) {
	var store client.Object = &esv1.SecretStore{}
	key := client.ObjectKey{Namespace: r.ps.Namespace, Name: name}
	if kind == esv1.ClusterSecretStoreKind {
		store, key.Namespace = &esv1.ClusterSecretStore{}, ""
	}
	if err := r.Client.Get(ctx, key, store); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("look at %s %q: %w", kind, name, err)
	}
	return store.GetLabels(), nil
}

// push brings one store in line, and notes in the status what is there.
func (r *run) push(ctx context.Context, j job) error {
	synced := r.synced(j.store.ref)
	for _, at := range slices.Sorted(maps.Keys(j.entries)) {
		e := j.entries[at]
		listening, heard := providers.Listen(ctx)
		if err := r.write(listening, j.target, e); err != nil {
			return fmt.Errorf("%s: write %q to %s %q: %w", e.field, at, j.store.ref.Kind, j.store.ref.Name, err)
		}
		synced[at] = e.data
		for _, warning := range heard.All() {
			r.warn(fmt.Sprintf("%s: %q in %s %q: %s", e.field, at, j.store.ref.Kind, j.store.ref.Name, warning))
		}
	}
	if r.ps.Spec.DeletionPolicy != esv1alpha1.DeletionDelete {
		for at := range synced {
			if j.entries[at].field == "" {
				delete(synced, at) // it stays there, and is not ours any more
			}
		}
		return nil
	}
	return r.remove(ctx, j.target, j.store.ref, func(at string) bool { return j.entries[at].field == "" })
}

// warn tells what a store says of a value that it has taken.
func (r *run) warn(text string) {
	if r.Recorder != nil {
		r.Recorder.Event(r.ps, corev1.EventTypeWarning, esv1alpha1.ReasonSynced, text)
	}
}

// write writes one value, unless the store has it and is to be left alone.
func (r *run) write(ctx context.Context, t *target, e entry) error {
	ref := e.data.Match.RemoteRef
	return t.do(ctx, ref.RemoteKey, func(ctx context.Context, writer providers.Writer) error {
		if r.ps.Spec.UpdatePolicy == esv1alpha1.UpdateIfNotExists {
			have, err := writer.Read(ctx, providers.Ref{Path: ref.RemoteKey})
			switch {
			case errors.Is(err, providers.ErrNotFound):
			case err != nil:
				return err
			case ref.Property == "" || gjson.GetBytes(have.Bytes(), ref.Property).Exists():
				return nil
			}
		}
		var metadata []byte
		if e.data.Metadata != nil {
			metadata = e.data.Metadata.Raw
		}
		return writer.Write(ctx, providers.Target{Path: ref.RemoteKey, Property: ref.Property}, e.value, metadata)
	})
}

// remove deletes from a store what was pushed and which is true for.
func (r *run) remove(ctx context.Context, t *target, store esv1.SecretStoreRef, which func(at string) bool) error {
	synced := r.synced(store)
	for _, at := range slices.Sorted(maps.Keys(synced)) {
		if !which(at) {
			continue
		}
		ref := synced[at].Match.RemoteRef
		err := t.do(ctx, ref.RemoteKey, func(ctx context.Context, writer providers.Writer) error {
			return writer.Delete(ctx, providers.Target{Path: ref.RemoteKey, Property: ref.Property})
		})
		if err != nil {
			return fmt.Errorf("spec.deletionPolicy: delete %q from %s %q: %w", at, store.Kind, store.Name, err)
		}
		delete(synced, at)
	}
	return nil
}

// removeAll deletes everything that was pushed to stores that keep is false for.
func (r *run) removeAll(ctx context.Context, keep func(store string) bool) error {
	for _, name := range slices.Sorted(maps.Keys(r.ps.Status.SyncedPushSecrets)) {
		if keep(name) {
			continue
		}
		kind, store, _ := strings.Cut(name, "/")
		if err := r.removeFrom(ctx, esv1.SecretStoreRef{Kind: kind, Name: store}); err != nil {
			return err
		}
		delete(r.ps.Status.SyncedPushSecrets, name)
	}
	return nil
}

// removeFrom deletes everything that was pushed to a store, if the policy says
// so.
func (r *run) removeFrom(ctx context.Context, store esv1.SecretStoreRef) error {
	key := r.someKey(store, nil)
	if key == "" || r.ps.Spec.DeletionPolicy != esv1alpha1.DeletionDelete {
		return nil
	}
	t, err := r.target(ctx, store, key)
	if err != nil {
		return fmt.Errorf("spec.deletionPolicy: %w", err)
	}
	defer t.turn.End()
	return r.remove(ctx, t, store, func(string) bool { return true })
}

// synced is the part of the status about one store, to be changed in place.
func (r *run) synced(ref esv1.SecretStoreRef) map[string]esv1alpha1.PushSecretData {
	if r.ps.Status.SyncedPushSecrets == nil {
		r.ps.Status.SyncedPushSecrets = map[string]map[string]esv1alpha1.PushSecretData{}
	}
	name := ref.Kind + "/" + ref.Name
	if r.ps.Status.SyncedPushSecrets[name] == nil {
		r.ps.Status.SyncedPushSecrets[name] = map[string]esv1alpha1.PushSecretData{}
	}
	return r.ps.Status.SyncedPushSecrets[name]
}
