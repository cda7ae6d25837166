package stores

import (
	"k8s.io/apimachinery/pkg/types"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// capabilities returns what a store can do, as far as it was opened; "" if it
// was not.
func (s *Stores) capabilities(kind string, store esv1.GenericStore) string {
	id := types.NamespacedName{Namespace: store.GetNamespace(), Name: store.GetName()}
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, e := range s.open {
		if k.kind != kind || k.name != id || !e.mu.TryLock() {
			continue // one that is being opened is looked at the next time
		}
		reader := e.reader
		e.mu.Unlock()
		if reader == nil {
			continue
		}
		if _, ok := reader.(providers.Writer); ok {
			return esv1.CapabilityReadWrite
		}
		return esv1.CapabilityReadOnly
	}
	return ""
}
