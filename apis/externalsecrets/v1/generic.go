package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// GenericStore is a SecretStore or a ClusterSecretStore.
// +kubebuilder:object:generate=false
type GenericStore interface {
	metav1.Object
	runtime.Object
	conditioned
	StoreSpec() *StoreSpec
	StoreStatus() *StoreStatus
}

// +kubebuilder:object:generate=false
type conditioned interface {
	GetConditions() []metav1.Condition
	SetConditions(conditions []metav1.Condition)
}

// StoreSpec returns the spec, to be changed in place.
func (s *SecretStore) StoreSpec() *StoreSpec { return &s.Spec }

// StoreStatus returns the status, to be changed in place.
func (s *SecretStore) StoreStatus() *StoreStatus { return &s.Status }

// StoreSpec returns the spec, to be changed in place.
func (s *ClusterSecretStore) StoreSpec() *StoreSpec { return &s.Spec }

// StoreStatus returns the status, to be changed in place.
func (s *ClusterSecretStore) StoreStatus() *StoreStatus { return &s.Status }
