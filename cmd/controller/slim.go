package main

import (
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
)

// slim leaves out of the cache what no one reads, of the objects that there
// are thousands of: who wrote which field of an ExternalSecret is as long as
// all the rest. Metadata alone is kept whole: drift is found by it.
func slim() map[client.Object]cache.ByObject {
	return map[client.Object]cache.ByObject{
		&esv1.ExternalSecret{}:          {Transform: withoutManagers[*esv1.ExternalSecret]},
		&bitnamiv1alpha1.SealedSecret{}: {Transform: withoutManagers[*bitnamiv1alpha1.SealedSecret]},
	}
}

// withoutManagers drops who wrote which field of an object, if it is whole.
func withoutManagers[T client.Object](o any) (any, error) {
	if whole, ok := o.(T); ok {
		whole.SetManagedFields(nil)
	}
	return o, nil
}
