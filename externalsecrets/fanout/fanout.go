// Package fanout makes the same object in many namespaces: the ExternalSecrets
// of a ClusterExternalSecret, and the PushSecrets of a ClusterPushSecret.
package fanout

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
)

// plan is what one object makes in which namespaces.
type plan[C client.Object] struct {
	owner     metav1.OwnerReference
	name      string // of each
	selectors []*metav1.LabelSelector
	names     []string // of namespaces, besides those that selectors match
	labels    map[string]string
	notes     map[string]string // annotations

	empty func() C
	all   func(ctx context.Context) ([]C, error) // that are there, of any owner
	spec  func(C) any                            // of one, to compare
	fill  func(C)                                // puts the wanted spec into one
}

// result is where it is, and where not.
type result struct {
	provisioned []string
	failed      []esv1.ClusterExternalSecretFailure
}

// carryOut brings all namespaces in line with p.
func carryOut[C client.Object](ctx context.Context, c *Controller, p *plan[C]) (result, error) {
	namespaces, err := c.namespaces(ctx, p.selectors, p.names)
	if err != nil {
		return result{}, err
	}
	have, err := p.all(ctx)
	if err != nil {
		return result{}, fmt.Errorf("list what is there: %w", err)
	}
	var r result
	for _, namespace := range namespaces {
		if err := ensure(ctx, c, p, namespace, have); err != nil {
			r.failed = append(r.failed, esv1.ClusterExternalSecretFailure{Namespace: namespace, Reason: err.Error()})
			continue
		}
		r.provisioned = append(r.provisioned, namespace)
	}
	return r, remove(ctx, c, p, namespaces, have)
}

// ensure makes the one of a namespace what it should be.
func ensure[C client.Object](ctx context.Context, c *Controller, p *plan[C], namespace string, have []C) error {
	i := slices.IndexFunc(have, func(o C) bool { return o.GetNamespace() == namespace && o.GetName() == p.name })
	if i < 0 {
		return create(ctx, c, p, namespace)
	}
	return update(ctx, c, p, have[i])
}

// remove deletes what is of p, and has no place any more.
func remove[C client.Object](ctx context.Context, c *Controller, p *plan[C], namespaces []string, have []C) error {
	for _, o := range have {
		if !p.owns(o) || o.GetName() == p.name && slices.Contains(namespaces, o.GetNamespace()) {
			continue
		}
		uid := o.GetUID()
		if err := c.Client.Delete(ctx, o, client.Preconditions{UID: &uid}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("remove %s/%s, whose namespace is not chosen any more: %w", o.GetNamespace(), o.GetName(), err)
		}
	}
	return nil
}

func (p *plan[C]) owns(o C) bool {
	owner := metav1.GetControllerOf(o)
	return owner != nil && owner.UID == p.owner.UID
}

func create[C client.Object](ctx context.Context, c *Controller, p *plan[C], namespace string) error {
	o := p.empty()
	o.SetNamespace(namespace)
	o.SetName(p.name)
	o.SetLabels(p.labels)
	o.SetAnnotations(p.notes)
	o.SetOwnerReferences([]metav1.OwnerReference{p.owner})
	p.fill(o)
	// One that is there already is our own that the cache does not show yet, or
	// someone else's: the watch brings us back when it does.
	if err := c.Client.Create(ctx, o); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create %q: the API server says %s", p.name, apierrors.ReasonForError(err))
	}
	return nil
}

// update changes one if it is not as it should be. Labels and annotations that
// others put on it stay.
func update[C client.Object](ctx context.Context, c *Controller, p *plan[C], o C) error {
	if !p.owns(o) {
		return fmt.Errorf("%q is there already, and not of this object: remove it, or choose another name", p.name)
	}
	before := o.DeepCopyObject().(C)
	o.SetLabels(merged(o.GetLabels(), p.labels))
	o.SetAnnotations(merged(o.GetAnnotations(), p.notes))
	p.fill(o)
	if equality.Semantic.DeepEqual(p.spec(before), p.spec(o)) && equality.Semantic.DeepEqual(before.GetLabels(), o.GetLabels()) && equality.Semantic.DeepEqual(before.GetAnnotations(), o.GetAnnotations()) {
		return nil
	}
	if err := c.Client.Patch(ctx, o, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("change %q: the API server says %s", p.name, apierrors.ReasonForError(err))
	}
	return nil
}

func merged(have, want map[string]string) map[string]string {
	if len(want) == 0 {
		return have
	}
	out := map[string]string{}
	maps.Copy(out, have)
	maps.Copy(out, want)
	return out
}

// namespaces returns those that any selector matches or names has, sorted, but
// for those that are on their way out.
func (c *Controller) namespaces(ctx context.Context, selectors []*metav1.LabelSelector, names []string) ([]string, error) {
	var list metav1.PartialObjectMetadataList
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	if err := c.Metadata.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	var compiled []labels.Selector
	for i, s := range selectors {
		selector, err := metav1.LabelSelectorAsSelector(s)
		if err != nil {
			return nil, fmt.Errorf("%w: spec.namespaceSelectors[%d] is not a selector: correct it", errInvalid, i)
		}
		compiled = append(compiled, selector)
	}
	var found []string
	for i := range list.Items {
		n := &list.Items[i]
		matches := slices.ContainsFunc(compiled, func(s labels.Selector) bool { return s.Matches(labels.Set(n.Labels)) })
		if n.DeletionTimestamp.IsZero() && (matches || slices.Contains(names, n.Name)) {
			found = append(found, n.Name)
		}
	}
	slices.Sort(found)
	return found, nil
}

// err is nil if no namespace failed.
func (r result) err() error {
	if len(r.failed) == 0 {
		return nil
	}
	names := make([]string, len(r.failed))
	for i, f := range r.failed {
		names[i] = f.Namespace
	}
	return fmt.Errorf("%d namespaces failed: %s: status.failedNamespaces says why", len(names), strings.Join(names, ", "))
}
