package stores

import (
	"strings"

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

// warnings returns what the provider of a store has to say of its settings, as
// far as it was opened.
func (s *Stores) warnings(kind string, store esv1.GenericStore) []string {
	id := types.NamespacedName{Namespace: store.GetNamespace(), Name: store.GetName()}
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, e := range s.open {
		if said := e.warnings.Load(); k.kind == kind && k.name == id && said != nil {
			return *said // it is the same for all namespaces: it is about the spec
		}
	}
	return nil
}

// success is reason and message of a store that can be used, with what its
// provider has to say of its settings.
func (c *Controller) success(kind string, store esv1.GenericStore) (string, string) {
	reason, message := esv1.ReasonStoreValid, "store validated"
	if unknown(store) {
		reason, message = esv1.ReasonValidationUnknown, "the store refers to objects in the namespace of each ExternalSecret, so it is validated when one is read"
	}
	return reason, strings.Join(append([]string{message}, c.Stores.warnings(kind, store)...), "; ")
}
