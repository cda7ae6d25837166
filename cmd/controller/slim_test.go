package main

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestSlim sees who wrote which field go from whole objects, and stay where
// drift is found by it.
func TestSlim(t *testing.T) {
	meta := metav1.ObjectMeta{Name: "db", ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}}
	all := slim()
	if len(all) != 2 {
		t.Errorf("%d kinds are slim, want ExternalSecret and SealedSecret", len(all))
	}
	for kind, by := range all {
		for _, test := range []struct {
			object client.Object
			want   int
		}{{kind.DeepCopyObject().(client.Object), 0}, {&metav1.PartialObjectMetadata{}, 1}} {
			test.object.SetName(meta.Name)
			test.object.SetManagedFields(meta.ManagedFields)
			got, err := by.Transform(test.object)
			if err != nil {
				t.Fatal(err)
			}
			if o := got.(client.Object); len(o.GetManagedFields()) != test.want || o.GetName() != meta.Name {
				t.Errorf("%T has %d writers and the name %q, want %d and %q", o, len(o.GetManagedFields()), o.GetName(), test.want, meta.Name)
			}
		}
	}
}
