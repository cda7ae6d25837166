package apply

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// listWatch returns how to list and watch a target, and an example of what
// comes back.
func (c *Client) listWatch(t Target) (*cache.ListWatch, runtime.Object, error) {
	resource, namespaced, err := c.Resource(t.Kind.GroupKind(), t.Kind.Version)
	if err != nil {
		return nil, nil, err
	}
	if !namespaced {
		t.Namespace = ""
	}
	narrow := func(o *metav1.ListOptions) {
		if t.Name != "" {
			o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, t.Name).String()
			return
		}
		o.LabelSelector = OwnerName
	}
	if metadataOnly(t.Kind.GroupKind()) && t.Rules == nil {
		objects := c.slim.Resource(resource).Namespace(t.Namespace)
		return &cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				narrow(&o)
				return objects.List(ctx, o)
			},
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				narrow(&o)
				return objects.Watch(ctx, o)
			},
		}, &metav1.PartialObjectMetadata{}, nil
	}
	objects := c.full.Resource(resource).Namespace(t.Namespace)
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			narrow(&o)
			return objects.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			narrow(&o)
			return objects.Watch(ctx, o)
		},
	}, &unstructured.Unstructured{}, nil
}

// toLive gives what a watch sent one form.
func toLive(obj any, kind schema.GroupVersionKind) (*unstructured.Unstructured, error) {
	if tomb, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = tomb.Obj
	}
	if u, ok := obj.(*unstructured.Unstructured); ok {
		return u, nil
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	u := &unstructured.Unstructured{Object: content}
	u.SetGroupVersionKind(kind)
	return u, nil
}
