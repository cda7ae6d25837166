// Package v1alpha1 holds the kinds of external-secrets.io that push:
// PushSecret and ClusterPushSecret. No field has a default in the schema; each
// comment says what an empty one means.
//
// +kubebuilder:object:generate=true
// +groupName=external-secrets.io
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group, and the version of these kinds.
var GroupVersion = schema.GroupVersion{Group: "external-secrets.io", Version: "v1alpha1"}

// Kinds of this version, as spelled in manifests.
const (
	PushSecretKind        = "PushSecret"
	ClusterPushSecretKind = "ClusterPushSecret" //nolint:gosec // G101: a kind, no credential
)

// AddToScheme makes the types of this package known to scheme.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&PushSecret{}, &PushSecretList{},
		&ClusterPushSecret{}, &ClusterPushSecretList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
