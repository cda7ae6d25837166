package pull

import (
	"context"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	metav1apply "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/util/csaupgrade"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/externalsecrets/template"
	"github.com/lockstep-dev/lockstep/reconciler"
)

// maxManager is the longest field manager that External Secrets Operator
// spells out; the API server's own limit is 128.
const maxManager = 63

// live returns the metadata of a Secret out of the cache, nil if there is none.
func (c *Controller) live(ctx context.Context, namespace, name string) (*metav1.PartialObjectMetadata, error) {
	o := &metav1.PartialObjectMetadata{}
	o.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	err := c.Metadata.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, o)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at Secret %q: %w", name, err)
	}
	return o, nil
}

// write makes the target what is desired. It sends nothing if the target
// holds that already.
func (r *run) write(ctx context.Context) error {
	name := targetName(r.es)
	if policy(r.es) == esv1.CreateNone {
		r.es.Status.Target, r.es.Status.Binding = nil, esv1.Binding{}
		return nil
	}
	if err := r.mayWrite(name); err != nil {
		return err
	}
	prints, err := r.keys.get(ctx, r.Reader, r.Client, r.Namespace)
	if err != nil {
		return err
	}
	fingerprint := prints.Sum(flat(r.memory.desired, r.es.Spec.Target.Immutable))
	if r.asWritten(name, fingerprint) {
		return nil
	}
	if err := r.mayAdd(ctx, name); err != nil {
		return err
	}
	if err := r.adopt(ctx); err != nil {
		return err
	}
	secret := r.secret(name)
	if err := r.Client.Apply(ctx, secret, client.FieldOwner(fieldManager(r.es)), client.ForceOwnership); err != nil {
		if apierrors.IsConflict(err) && policy(r.es) == esv1.CreateMerge {
			return missing(r.es) // it went away between the look and the write
		}
		return explain(name, err)
	}
	r.memory.wrote, r.memory.made = r.now, r.live == nil
	if err := r.removeFormer(ctx, name); err != nil {
		return err
	}
	r.es.Status.Binding = esv1.Binding{Name: name}
	r.es.Status.Target = &esv1.TargetStatus{Name: name, UID: *secret.UID, ResourceVersion: *secret.ResourceVersion, Fingerprint: fingerprint}
	return nil
}

// adopt makes the fields that External Secrets Operator wrote ours: it updates
// where we apply, and what it owns that way would stay for ever, the hash of
// the data among it. It sends nothing for any other Secret.
func (r *run) adopt(ctx context.Context) error {
	if r.live == nil {
		return nil
	}
	name := fieldManager(r.es)
	patch, err := csaupgrade.UpgradeManagedFieldsPatch(r.live, sets.New(name), name)
	if err != nil || len(patch) == 0 {
		return err
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: r.live.Namespace, Name: r.live.Name}}
	if err := r.Client.Patch(ctx, secret, client.RawPatch(types.JSONPatchType, patch)); err != nil {
		return explain(r.live.Name, err)
	}
	return nil
}

// asWritten reports whether the target already holds what has fingerprint, by
// what the status says and the cache shows.
func (r *run) asWritten(name, fingerprint string) bool {
	t := r.es.Status.Target
	if t == nil || t.Name != name || t.Fingerprint != fingerprint {
		return false
	}
	return r.live != nil && r.live.ResourceVersion == t.ResourceVersion || r.now.Sub(r.memory.wrote) <= lag && !differs(r.es, r.memory, r.live, r.now)
}

// mayWrite refuses targets that are someone else's, and says what is missing.
func (r *run) mayWrite(name string) error {
	if r.live == nil {
		if policy(r.es) == esv1.CreateMerge {
			return missing(r.es)
		}
		return nil
	}
	if p := policy(r.es); p == esv1.CreateMerge || p == esv1.CreateOrMerge {
		return nil
	}
	if owner := metav1.GetControllerOf(r.live); owner != nil && owner.UID != r.es.UID {
		return reconciler.Final(esv1.ReasonSecretSyncedError, fmt.Errorf(
			"spec.target.name: Secret %q belongs to %s %q: choose another name, delete one of the two, or set creationPolicy: Merge", name, owner.Kind, owner.Name))
	}
	return nil
}

// mayAdd refuses to add to a Secret of a type that gives rights: what is in it
// says which. Where nothing is merged, the type is written, and cannot change.
func (r *run) mayAdd(ctx context.Context, name string) error {
	if p := policy(r.es); r.live == nil || p != esv1.CreateMerge && p != esv1.CreateOrMerge {
		return nil
	}
	secret := &corev1.Secret{}
	if err := r.Reader.Get(ctx, client.ObjectKey{Namespace: r.es.Namespace, Name: name}, secret); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("look at Secret %q: %w", name, err)
	}
	if template.Escalates(secret.Type) {
		return reconciler.Final(esv1.ReasonSecretSyncedError, fmt.Errorf(
			"spec.target.name: Secret %q is of type %q, which Kubernetes gives rights to: choose another name", name, secret.Type))
	}
	return nil
}

// missing is the outcome of Merge without a Secret; the watch on Secrets wakes
// the object when there is one.
func missing(es *esv1.ExternalSecret) error {
	return reconciler.Wait(esv1.ReasonSecretMissing, 0, fmt.Errorf(
		"spec.target.name: Secret %q does not exist, and creationPolicy Merge only adds to one: create it, or set creationPolicy: Owner", targetName(es)))
}

// secret is what is applied.
func (r *run) secret(name string) *corev1apply.SecretApplyConfiguration {
	es, out := r.es, r.memory.desired
	s := corev1apply.Secret(name, es.Namespace).
		WithData(out.Data).
		WithAnnotations(out.Annotations).
		WithLabels(out.Labels).
		WithLabels(map[string]string{esv1.LabelManaged: esv1.LabelManagedValue}).
		WithFinalizers(out.Finalizers...)
	p := policy(es)
	if p == esv1.CreateMerge {
		s.WithUID(r.live.UID) // or it would be made if it is gone by now
	}
	if merges := p == esv1.CreateMerge || p == esv1.CreateOrMerge && r.live != nil; !merges || es.Spec.Target.Template != nil && es.Spec.Target.Template.Type != "" {
		s.WithType(out.Type)
	}
	if es.Spec.Target.Immutable {
		s.WithImmutable(true)
	}
	if p == esv1.CreateOwner {
		s.WithLabels(map[string]string{esv1.LabelOwner: hash(es.Namespace + "/" + es.Name)})
		s.WithOwnerReferences(metav1apply.OwnerReference().
			WithAPIVersion(esv1.GroupVersion.String()).WithKind(esv1.ExternalSecretKind).
			WithName(es.Name).WithUID(es.UID).WithController(true).WithBlockOwnerDeletion(true))
	}
	return s
}

func fieldManager(es *esv1.ExternalSecret) string {
	name := esv1.FieldManagerPrefix + es.Name
	if len(name) > maxManager {
		return esv1.FieldManagerPrefix + "sha3/" + hash(es.Name)
	}
	return name
}

// flat is all that is written, as one map for the fingerprint.
func flat(out *template.Output, immutable bool) map[string][]byte {
	m := map[string][]byte{"type": []byte(out.Type), "immutable": fmt.Append(nil, immutable)}
	for key, value := range out.Data {
		m["data/"+key] = value
	}
	for prefix, values := range map[string]map[string]string{"label/": out.Labels, "annotation/": out.Annotations} {
		for key, value := range values {
			m[prefix+key] = []byte(value)
		}
	}
	for _, finalizer := range out.Finalizers {
		m["finalizer/"+finalizer] = nil
	}
	return m
}

// removeFormer deletes the Secret that had the target's name before it was
// changed.
func (r *run) removeFormer(ctx context.Context, name string) error {
	if former := r.es.Status.Target; former != nil && former.Name != name && policy(r.es) == esv1.CreateOwner {
		return r.remove(ctx, r.es, former.Name)
	}
	return nil
}

// remove deletes a Secret if the ExternalSecret owns it, and only the very one
// that was looked at.
func (c *Controller) remove(ctx context.Context, es *esv1.ExternalSecret, name string) error {
	live, err := c.live(ctx, es.Namespace, name)
	if err != nil || live == nil {
		return err
	}
	if !metav1.IsControlledBy(live, es) {
		return nil
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: es.Namespace, Name: name}}
	err = c.Client.Delete(ctx, secret, client.Preconditions{UID: &live.UID})
	if err != nil && !apierrors.IsNotFound(err) {
		return explain(name, err)
	}
	return nil
}

// inherited are the labels and annotations of es that its Secret gets when
// there is no template.
func inherited(es *esv1.ExternalSecret) (labels, annotations map[string]string) {
	annotations = maps.Clone(es.Annotations)
	// What they say is about the ExternalSecret.
	delete(annotations, corev1.LastAppliedConfigAnnotation)
	delete(annotations, esv1.AnnotationForceSync)
	return maps.Clone(es.Labels), annotations
}
