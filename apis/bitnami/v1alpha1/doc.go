// Package v1alpha1 holds the SealedSecret of bitnami.com, as Sealed Secrets
// v0.36.6 has it: its manifests and its real client work unchanged.
//
// +kubebuilder:object:generate=true
// +groupName=bitnami.com
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group, and the version that is stored.
var GroupVersion = schema.GroupVersion{Group: "bitnami.com", Version: "v1alpha1"}

// SealedSecretKind is the kind, as spelled in manifests.
const SealedSecretKind = "SealedSecret"

// AddToScheme makes the types of this package known to scheme.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion, &SealedSecret{}, &SealedSecretList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
