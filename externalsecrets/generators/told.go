package generators

import (
	"fmt"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Told remembers which warnings about generators the users of an object have
// been told, so that they hear each once in a generation of it and not whenever
// values are made. The zero value is ready to use, by many goroutines.
type Told struct {
	mu sync.Mutex
	m  map[types.NamespacedName]string
}

// News returns the warnings about obj that are to be told: all of them, or none
// if they were told of this generation already.
func (t *Told) News(obj client.Object, warnings []string) []string {
	key := client.ObjectKeyFromObject(obj)
	if len(warnings) == 0 {
		t.Forget(key)
		return nil
	}
	now := fmt.Sprintf("%s/%d %s", obj.GetUID(), obj.GetGeneration(), strings.Join(warnings, "\n"))
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.m[key] == now {
		return nil
	}
	if t.m == nil {
		t.m = map[types.NamespacedName]string{}
	}
	t.m[key] = now
	return warnings
}

// Forget drops what is known of an object that is gone.
func (t *Told) Forget(key types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.m, key)
}
