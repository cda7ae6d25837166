// Package v1alpha1 holds the kinds of lockstep.dev, which are our own.
//
// +kubebuilder:object:generate=true
// +groupName=lockstep.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group, and the version that is stored.
var GroupVersion = schema.GroupVersion{Group: "lockstep.dev", Version: "v1alpha1"}

// AddToScheme makes the types of this package known to scheme.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion, &Reseal{}, &ResealList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
