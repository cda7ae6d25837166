package stores

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// A Use is a store that refers to an object.
type Use struct {
	Kind string
	types.NamespacedName

	// Only is the namespace whose ExternalSecrets the store reads with the
	// object; empty: it is all that may use the store.
	Only string
}

// Using returns the stores that refer to an object of a kind, which is Secret,
// ConfigMap or ServiceAccount. It works once the Controller of stores is set up.
func (s *Stores) Using(ctx context.Context, kind string, object types.NamespacedName) ([]Use, error) {
	var uses []Use
	for _, from := range []struct{ namespace, only string }{{object.Namespace, ""}, {"", object.Namespace}} {
		refers := client.MatchingFields{byReference: reference(kind, from.namespace, object.Name)}
		own, cluster := esv1.SecretStoreList{}, esv1.ClusterSecretStoreList{}
		for _, list := range []client.ObjectList{&own, &cluster} {
			if err := s.Client.List(ctx, list, refers, client.UnsafeDisableDeepCopy); err != nil { // they are only looked at
				return nil, fmt.Errorf("list the stores that refer to %s %s: %w", kind, object, err)
			}
		}
		for i := range own.Items {
			uses = append(uses, Use{Kind: esv1.SecretStoreKind, NamespacedName: client.ObjectKeyFromObject(&own.Items[i])})
		}
		for i := range cluster.Items {
			uses = append(uses, Use{Kind: esv1.ClusterSecretStoreKind, NamespacedName: client.ObjectKeyFromObject(&cluster.Items[i]), Only: from.only})
		}
	}
	return uses, nil
}

// reference is what a store is indexed by. Without a namespace, it is in that
// of each ExternalSecret.
func reference(kind, namespace, name string) string { return kind + "/" + namespace + "/" + name }

// Refers reports whether the spec of a generator refers to an object of a kind.
func Refers(spec any, kind, name string) bool {
	var found []selector
	find(reflect.ValueOf(spec), "spec", &found)
	return slices.ContainsFunc(found, func(s selector) bool { return s.kind == kind && s.name == name })
}

// Stays returns an error unless all that the spec of a generator refers to is
// in the namespace of the object that uses it.
func Stays(spec any, namespace string) error {
	var found []selector
	find(reflect.ValueOf(spec), "spec", &found)
	for _, s := range found {
		if s.namespace != nil && *s.namespace != "" && *s.namespace != namespace {
			return fmt.Errorf("%s: %w: namespace %q is not that of the object that uses the generator, %q: a generator refers to its user's namespace only; remove it", s.field, providers.ErrInvalid, *s.namespace, namespace)
		}
	}
	return nil
}
