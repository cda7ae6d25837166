package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
)

// ClusterPushSecret makes the same PushSecret in many namespaces.
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:subresource:status
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Cluster,categories={external-secrets}
// +kubebuilder:printcolumn:name="AGE",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
type ClusterPushSecret struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec ClusterPushSecretSpec `json:"spec,omitzero"`
	// +optional
	Status ClusterPushSecretStatus `json:"status,omitzero"`
}

// ClusterPushSecretList is a list of ClusterPushSecrets.
// +kubebuilder:object:root=true
type ClusterPushSecretList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterPushSecret `json:"items"`
}

// ClusterPushSecretSpec says what to make, and where.
type ClusterPushSecretSpec struct {
	// pushSecretSpec is the spec of each PushSecret.
	PushSecretSpec PushSecretSpec `json:"pushSecretSpec"`

	// refreshTime is how often the namespaces are looked at, as a Go duration.
	// They are watched, so that it is not needed: it is kept for manifests that
	// have it.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	RefreshInterval *metav1.Duration `json:"refreshTime,omitempty"`

	// pushSecretName is the name of each. Empty: that of this object.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	PushSecretName string `json:"pushSecretName,omitempty"`

	// pushSecretMetadata is put on each.
	// +optional
	PushSecretMetadata esv1.ExternalSecretMetadata `json:"pushSecretMetadata,omitzero"`

	// namespaceSelectors choose the namespaces: those that any of them matches.
	// +optional
	NamespaceSelectors []*metav1.LabelSelector `json:"namespaceSelectors,omitempty"`
}

// ClusterPushSecretStatus says where PushSecrets are, and where not.
type ClusterPushSecretStatus struct {
	// failedNamespaces are those where it could not be made, with the reason.
	// +optional
	FailedNamespaces []esv1.ClusterExternalSecretFailure `json:"failedNamespaces,omitempty"`

	// provisionedNamespaces are those where it is.
	// +optional
	ProvisionedNamespaces []string `json:"provisionedNamespaces,omitempty"`

	// pushSecretName is the name that the PushSecrets have.
	// +optional
	PushSecretName string `json:"pushSecretName,omitempty"`

	// +optional
	Conditions []esv1.Condition `json:"conditions,omitempty"`
}

// GetConditions returns the conditions in the form of Kubernetes.
func (c *ClusterPushSecret) GetConditions() []metav1.Condition {
	return esv1.ToKubernetes(c.Status.Conditions)
}

// SetConditions replaces the conditions; Reconciling and Stalled are left out.
func (c *ClusterPushSecret) SetConditions(conditions []metav1.Condition) {
	c.Status.Conditions = esv1.FromKubernetes(conditions)
}
