package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/fluxcd/cli-utils/pkg/object"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// ErrTerminating says that an object is on its way out, and can be made again
// when it is gone.
var ErrTerminating = errors.New("is being deleted: it is made again when it is gone")

// Options say how to apply one object.
type Options struct {
	// Known says that what is there is known to be ours, or that there is
	// nothing. Otherwise somebody else's object is looked at before it is
	// written to.
	Known bool
	// Recreate deletes and makes anew what cannot be changed.
	Recreate bool
	// Ignore are JSON pointers (RFC 6901) to fields that belong to others once
	// the object exists.
	Ignore []string
}

// Outcome is what became of an object.
type Outcome struct {
	Live      *unstructured.Unstructured // as it is now; of a Secret or ConfigMap, its metadata
	Skipped   bool                       // it was left as it is, because it asks for it
	Recreated bool
}

// Apply applies o by server-side apply.
func (c *Client) Apply(ctx context.Context, o *unstructured.Unstructured, how Options) (Outcome, error) {
	gvk := o.GroupVersionKind()
	resource, _, err := c.Resource(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return Outcome{}, err
	}
	a := &application{Client: c, o: o, how: how, path: absPath(resource, o.GetNamespace(), o.GetName()), kind: gvk.GroupKind()}
	out, err := a.run(ctx)
	return out, explain(gvk.GroupKind(), c.current(gvk.GroupKind(), gvk.Version, err))
}

// application is one object on its way to the API server.
type application struct {
	*Client
	o    *unstructured.Unstructured
	how  Options
	path string
	kind schema.GroupKind
}

func (a *application) run(ctx context.Context) (Outcome, error) {
	if ModeOf(a.o) == IfNotPresent || len(a.how.Ignore) > 0 {
		return a.look(ctx)
	}
	live, err := a.patch(ctx, a.o, a.how.Known)
	if !a.how.Known && apierrors.IsConflict(err) {
		return a.look(ctx)
	}
	if err == nil && a.managers.foreign(live) && ModeOf(a.o) != Merge {
		return a.overwrite(ctx, live, a.o)
	}
	return a.done(ctx, live, err)
}

// look applies with regard to what is there.
func (a *application) look(ctx context.Context) (Outcome, error) {
	live, err := a.get(ctx)
	if apierrors.IsNotFound(err) && !unserved(err) {
		live, err = a.patch(ctx, a.o, true)
		return a.done(ctx, live, err)
	}
	if err != nil {
		return Outcome{}, err
	}
	if mode := ModeOf(live); mode == Ignore || mode == IfNotPresent || ModeOf(a.o) == IfNotPresent {
		return Outcome{Live: live, Skipped: true}, nil
	}
	desired := a.o
	if len(a.how.Ignore) > 0 {
		if desired, err = without(a.o, live, a.how.Ignore); err != nil {
			return Outcome{}, err
		}
	}
	return a.overwrite(ctx, live, desired)
}

// overwrite takes over what is to be taken over of live, and applies.
func (a *application) overwrite(ctx context.Context, live, desired *unstructured.Unstructured) (Outcome, error) {
	if a.managers.foreign(live) && ModeOf(live) != Merge && ModeOf(a.o) != Merge {
		patch, err := a.managers.takeover(live)
		if err != nil {
			return Outcome{}, err
		}
		if _, err := a.send(ctx, a.raw.Patch(types.JSONPatchType).AbsPath(a.path).Param("fieldManager", FieldManager).Body(patch)); err != nil {
			return Outcome{}, fmt.Errorf("take over fields of other managers: %w", err)
		}
	}
	live, err := a.patch(ctx, desired, true)
	return a.done(ctx, live, err)
}

// done deals with what cannot be changed.
func (a *application) done(ctx context.Context, live *unstructured.Unstructured, err error) (Outcome, error) {
	if err == nil || !a.how.Recreate || !immutable(err) {
		return Outcome{Live: live}, err
	}
	id := object.ObjMetadata{Namespace: a.o.GetNamespace(), Name: a.o.GetName(), GroupKind: a.kind}
	if _, err := a.Delete(ctx, id, a.o.GroupVersionKind().Version, func(metav1.Object) bool { return true }); err != nil {
		return Outcome{}, fmt.Errorf("delete to make it anew: %w", err)
	}
	live, err = a.patch(ctx, a.o, true)
	if err == nil && live.GetDeletionTimestamp() != nil || immutable(err) || apierrors.IsConflict(err) {
		return Outcome{}, ErrTerminating
	}
	return Outcome{Live: live, Recreated: true}, err
}

// immutable reports whether the API server refuses a change because a field
// may not change. There is no error code for it.
//
// Source: k8s.io/apimachinery/pkg/api/validation, FieldImmutableErrorMsg, and
// the messages of apps, batch, storage and of CEL transition rules by
// convention.
func immutable(err error) bool {
	if err == nil || !apierrors.IsInvalid(err) {
		return false
	}
	text := err.Error()
	for _, s := range []string{"field is immutable", "are immutable", "is immutable", "are forbidden", "may not change once set", "cannot be changed", "may not be changed", "must not be changed"} {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}

func (a *application) patch(ctx context.Context, o *unstructured.Unstructured, force bool) (*unstructured.Unstructured, error) {
	body, err := json.Marshal(o.Object)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	request := a.raw.Patch(types.ApplyPatchType).AbsPath(a.path).Param("fieldManager", FieldManager).Body(body)
	if force {
		request.Param("force", "true")
	}
	return a.send(ctx, request)
}

func (a *application) get(ctx context.Context) (*unstructured.Unstructured, error) {
	return a.send(ctx, a.raw.Get().AbsPath(a.path))
}

// send asks for no more of a Secret or ConfigMap than its metadata, unless
// some of its fields are to be left to others.
func (a *application) send(ctx context.Context, request *rest.Request) (*unstructured.Unstructured, error) {
	if metadataOnly(a.kind) && len(a.how.Ignore) == 0 {
		request.SetHeader("Accept", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")
	} else {
		request.SetHeader("Accept", "application/json")
	}
	raw, err := request.Do(ctx).Raw()
	if err != nil {
		return nil, decode(raw, err)
	}
	live := &unstructured.Unstructured{}
	if err := json.Unmarshal(raw, &live.Object); err != nil {
		return nil, fmt.Errorf("decode the applied object: %w", err)
	}
	live.SetGroupVersionKind(a.o.GroupVersionKind())
	return live, nil
}

// decode makes a status error of the answer where the client did not: asked
// for raw bytes, it keeps the body of an error for its caller.
func decode(raw []byte, err error) error {
	var status metav1.Status
	if json.Unmarshal(raw, &status) == nil && status.Kind == "Status" && status.Status == metav1.StatusFailure {
		return &apierrors.StatusError{ErrStatus: status}
	}
	return err
}
