package stores

import (
	"path"
	"slices"
)

// Identity says who may use what belongs to the controller itself. The zero
// value is for ClusterSecretStores only, which the platform's owner makes.
type Identity struct {
	// AmbientNamespaces are patterns, such as team-*, of the namespaces whose
	// SecretStores may use the identity that a cloud gives to the controller. No
	// store may ever use its token of the API server.
	AmbientNamespaces []string

	// LinkLocal lets every store name servers at link-local addresses and at
	// those of metadata services.
	LinkLocal bool
}

// Ambient reports whether the stores of a namespace may use the identity that
// a cloud gives to the controller. Those of none, which is "", are
// ClusterSecretStores.
func (i Identity) Ambient(namespace string) bool {
	return namespace == "" || slices.ContainsFunc(i.AmbientNamespaces, func(pattern string) bool {
		ok, err := path.Match(pattern, namespace)
		return err == nil && ok
	})
}
