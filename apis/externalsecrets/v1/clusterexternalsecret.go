package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ClusterExternalSecret makes the same ExternalSecret in many namespaces.
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:subresource:status
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Cluster,categories={external-secrets},shortName=ces
// +kubebuilder:printcolumn:name="Store",type=string,JSONPath=`.spec.externalSecretSpec.secretStoreRef.name`
// +kubebuilder:printcolumn:name="Refresh Interval",type=string,JSONPath=`.spec.refreshTime`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
type ClusterExternalSecret struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec ClusterExternalSecretSpec `json:"spec,omitzero"`
	// +optional
	Status ClusterExternalSecretStatus `json:"status,omitzero"`
}

// ClusterExternalSecretList is a list of ClusterExternalSecrets.
// +kubebuilder:object:root=true
type ClusterExternalSecretList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterExternalSecret `json:"items"`
}

// ClusterExternalSecretSpec says what to make, and where.
type ClusterExternalSecretSpec struct {
	// externalSecretSpec is the spec of each ExternalSecret.
	ExternalSecretSpec ExternalSecretSpec `json:"externalSecretSpec"`

	// externalSecretName is the name of each. Empty: that of this object.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	ExternalSecretName string `json:"externalSecretName,omitempty"`

	// externalSecretMetadata is put on each.
	// +optional
	ExternalSecretMetadata ExternalSecretMetadata `json:"externalSecretMetadata,omitzero"`

	// namespaceSelector is an older form of namespaceSelectors, with one entry.
	// +optional
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`

	// namespaceSelectors choose the namespaces: those that any of them matches.
	// +optional
	NamespaceSelectors []*metav1.LabelSelector `json:"namespaceSelectors,omitempty"`

	// namespaces are more of them, by name.
	// +optional
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Namespaces []string `json:"namespaces,omitempty"`

	// refreshTime is how often the namespaces are looked at, as a Go duration.
	// They are watched, so that it is not needed: it is kept for manifests that
	// have it.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	RefreshInterval *metav1.Duration `json:"refreshTime,omitempty"`
}

// ExternalSecretMetadata is labels and annotations.
type ExternalSecretMetadata struct {
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`
	// +optional
	Labels map[string]string `json:"labels,omitempty"`
}

// ClusterExternalSecretStatus says where ExternalSecrets are, and where not.
type ClusterExternalSecretStatus struct {
	// externalSecretName is the name that the ExternalSecrets have.
	// +optional
	ExternalSecretName string `json:"externalSecretName,omitempty"`

	// failedNamespaces are those where it could not be made, with the reason.
	// +optional
	FailedNamespaces []ClusterExternalSecretFailure `json:"failedNamespaces,omitempty"`

	// provisionedNamespaces are those where it is.
	// +optional
	ProvisionedNamespaces []string `json:"provisionedNamespaces,omitempty"`

	// +optional
	Conditions []Condition `json:"conditions,omitempty"`
}

// ClusterExternalSecretFailure is why a namespace has no ExternalSecret.
type ClusterExternalSecretFailure struct {
	// namespace that failed.
	Namespace string `json:"namespace"`
	// reason it did.
	// +optional
	Reason string `json:"reason,omitempty"`
}

// AnnotationForceSyncAll on a ClusterExternalSecret is passed on to its
// ExternalSecrets, so that all are read anew.
const AnnotationForceSyncAll = "external-secrets.io/force-sync"

// GetConditions returns the conditions in the form of Kubernetes.
func (c *ClusterExternalSecret) GetConditions() []metav1.Condition {
	return ToKubernetes(c.Status.Conditions)
}

// SetConditions replaces the conditions; Reconciling and Stalled are left out.
func (c *ClusterExternalSecret) SetConditions(conditions []metav1.Condition) {
	c.Status.Conditions = FromKubernetes(conditions)
}
