// Package v1 holds the kinds of external-secrets.io that the suite serves:
// ExternalSecret, ClusterExternalSecret, SecretStore and ClusterSecretStore.
//
// The same types are served as v1, which is stored, and as v1beta1. A field
// that either version of External Secrets Operator knows is here, so that
// nothing is ever pruned; one that the controller does not support is refused
// by a condition that names it. No field has a default in the schema, because
// a value that the server fills in is a difference to what Git holds: each
// comment says what an empty field means.
//
// +kubebuilder:object:generate=true
// +groupName=external-secrets.io
package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group, and the version that is stored.
var GroupVersion = schema.GroupVersion{Group: "external-secrets.io", Version: "v1"}

// Kinds of this group, as spelled in manifests.
const (
	ExternalSecretKind        = "ExternalSecret"
	ClusterExternalSecretKind = "ClusterExternalSecret"
	SecretStoreKind           = "SecretStore"
	ClusterSecretStoreKind    = "ClusterSecretStore"
)

// AddToScheme makes the types of this package known to scheme.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&ExternalSecret{}, &ExternalSecretList{},
		&ClusterExternalSecret{}, &ClusterExternalSecretList{},
		&SecretStore{}, &SecretStoreList{},
		&ClusterSecretStore{}, &ClusterSecretStoreList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
