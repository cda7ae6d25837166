package main

import (
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
)

// slim leaves out of the cache what no one reads, of the objects that there
// are thousands of: who wrote which field of an ExternalSecret is as long as
// all the rest. Metadata alone is kept whole: drift is found by it.
func slim() map[client.Object]cache.ByObject {
	return map[client.Object]cache.ByObject{&esv1.ExternalSecret{}: {Transform: func(o any) (any, error) {
		if es, ok := o.(*esv1.ExternalSecret); ok {
			es.ManagedFields = nil
		}
		return o, nil
	}}}
}
