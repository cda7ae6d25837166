package apply

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Managers are the beginnings of names of field managers whose fields pass to
// us, besides those whose fields always do.
//
// Source: Flux, --override-manager of kustomize-controller, and pkg/ssa, FieldManager
type Managers []string

// takenOver reports whether the fields of a manager pass to us: what kubectl
// and Helm set, what was set before there was server-side apply, and what the
// platform owner adds. As in Flux, an edit that shall last names a manager of
// its own, for example kubectl --field-manager=flux-client-side-apply.
//
// Source: Flux, FAQ, "Why are kubectl edits rolled back by Flux?"
func (m Managers) takenOver(f metav1.ManagedFieldsEntry) bool {
	if f.Subresource != "" || f.FieldsV1 == nil {
		return false
	}
	switch {
	case f.Manager == FieldManager, f.Manager == "before-first-apply":
		return f.Operation == metav1.ManagedFieldsOperationUpdate
	case f.Manager == "helm", strings.HasPrefix(f.Manager, "kubectl"):
		return true
	default:
		return slices.ContainsFunc(m, func(name string) bool { return strings.HasPrefix(f.Manager, name) })
	}
}

// foreign reports whether an object has fields that are to be taken over.
func (m Managers) foreign(live metav1.Object) bool {
	return slices.ContainsFunc(live.GetManagedFields(), m.takenOver)
}

// takeover returns the JSON patch that makes fields of others ours, so that
// the next apply removes those of them that are not desired. It fails with a
// conflict where the object has changed since.
func (m Managers) takeover(live metav1.Object) ([]byte, error) {
	all, mine := &fieldpath.Set{}, metav1.ManagedFieldsEntry{Manager: FieldManager, Operation: metav1.ManagedFieldsOperationApply, FieldsType: "FieldsV1"}
	var kept []metav1.ManagedFieldsEntry
	for _, f := range live.GetManagedFields() {
		own := f.Manager == FieldManager && f.Operation == metav1.ManagedFieldsOperationApply && f.Subresource == ""
		if !own && !m.takenOver(f) {
			kept = append(kept, f)
			continue
		}
		set := &fieldpath.Set{}
		if err := set.FromJSON(bytes.NewReader(f.FieldsV1.GetRawBytes())); err != nil {
			return nil, fmt.Errorf("fields of manager %s: %w", f.Manager, err)
		}
		all = all.Union(set)
		mine.APIVersion, mine.Time = f.APIVersion, f.Time
	}
	raw, err := all.ToJSON()
	if err != nil {
		return nil, fmt.Errorf("fields: %w", err)
	}
	mine.FieldsV1 = &metav1.FieldsV1{}
	mine.FieldsV1.SetRawBytes(raw)
	patch, err := json.Marshal([]map[string]any{
		{"op": "replace", "path": "/metadata/managedFields", "value": append(kept, mine)},
		{"op": "replace", "path": "/metadata/resourceVersion", "value": live.GetResourceVersion()},
	})
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return patch, nil
}
