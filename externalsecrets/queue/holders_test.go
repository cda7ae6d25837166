package queue

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
)

// TestHolders compares them with a map, after each of all sequences of steps.
func TestHolders(t *testing.T) {
	const objects, steps = 3, 5
	name := func(i int) types.NamespacedName {
		return types.NamespacedName{Namespace: "apps", Name: string(rune('a' + i))}
	}
	sequences := 1
	for range steps {
		sequences *= 2 * objects
	}
	for sequence := range sequences {
		h, want := holders{}, map[types.NamespacedName]bool{}
		for rest, step := sequence, 0; step < steps; rest, step = rest/(2*objects), step+1 {
			object := name(rest % objects)
			if rest/objects%2 == 0 {
				h, want[object] = h.with(object), true
			} else {
				h = h.without(object)
				delete(want, object)
			}
			got := map[types.NamespacedName]bool{}
			for object := range h.all {
				got[object] = true
			}
			if diff := cmp.Diff(want, got); diff != "" || h.empty() != (len(want) == 0) {
				t.Fatalf("sequence %d, step %d (-want +got):\n%s", sequence, step, diff)
			}
		}
	}
}
