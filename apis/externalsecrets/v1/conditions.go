package v1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// hidden are the condition types of our own loop that this group does not
// show: a tool that takes every condition with status True for good news would
// misread them.
var hidden = map[string]bool{"Reconciling": true, "Stalled": true}

// GetConditions returns the conditions in the form of Kubernetes.
func (e *ExternalSecret) GetConditions() []metav1.Condition { return ToKubernetes(e.Status.Conditions) }

// SetConditions replaces the conditions; Reconciling and Stalled are left out.
func (e *ExternalSecret) SetConditions(c []metav1.Condition) { e.Status.Conditions = FromKubernetes(c) }

// GetConditions returns the conditions in the form of Kubernetes.
func (s *SecretStore) GetConditions() []metav1.Condition { return ToKubernetes(s.Status.Conditions) }

// SetConditions replaces the conditions; Reconciling and Stalled are left out.
func (s *SecretStore) SetConditions(c []metav1.Condition) { s.Status.Conditions = FromKubernetes(c) }

// GetConditions returns the conditions in the form of Kubernetes.
func (s *ClusterSecretStore) GetConditions() []metav1.Condition {
	return ToKubernetes(s.Status.Conditions)
}

// SetConditions replaces the conditions; Reconciling and Stalled are left out.
func (s *ClusterSecretStore) SetConditions(c []metav1.Condition) {
	s.Status.Conditions = FromKubernetes(c)
}

// ToKubernetes returns conditions in the form of Kubernetes.
func ToKubernetes(conditions []Condition) []metav1.Condition {
	var out []metav1.Condition
	for _, c := range conditions {
		out = append(out, metav1.Condition{
			Type:               c.Type,
			Status:             metav1.ConditionStatus(c.Status),
			Reason:             c.Reason,
			Message:            c.Message,
			LastTransitionTime: c.LastTransitionTime,
		})
	}
	return out
}

// FromKubernetes returns conditions in the form of External Secrets Operator,
// without Reconciling and Stalled.
func FromKubernetes(conditions []metav1.Condition) []Condition {
	var out []Condition
	for _, c := range conditions {
		if hidden[c.Type] {
			continue
		}
		out = append(out, Condition{
			Type:               c.Type,
			Status:             corev1.ConditionStatus(c.Status),
			Reason:             c.Reason,
			Message:            c.Message,
			LastTransitionTime: c.LastTransitionTime,
		})
	}
	return out
}
