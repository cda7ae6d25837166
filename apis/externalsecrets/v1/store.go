package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// SecretStore is a service that holds secrets, for one namespace.
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:subresource:status
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets},shortName=ss
// +kubebuilder:printcolumn:name="AGE",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Capabilities",type=string,JSONPath=`.status.capabilities`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
type SecretStore struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec StoreSpec `json:"spec,omitzero"`
	// +optional
	Status StoreStatus `json:"status,omitzero"`
}

// SecretStoreList is a list of SecretStores.
// +kubebuilder:object:root=true
type SecretStoreList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []SecretStore `json:"items"`
}

// ClusterSecretStore is a service that holds secrets, for many namespaces.
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:subresource:status
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Cluster,categories={external-secrets},shortName=css
// +kubebuilder:printcolumn:name="AGE",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Capabilities",type=string,JSONPath=`.status.capabilities`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
type ClusterSecretStore struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec StoreSpec `json:"spec,omitzero"`
	// +optional
	Status StoreStatus `json:"status,omitzero"`
}

// ClusterSecretStoreList is a list of ClusterSecretStores.
// +kubebuilder:object:root=true
type ClusterSecretStoreList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterSecretStore `json:"items"`
}

// StoreSpec says where the secrets are, and how to get in.
type StoreSpec struct {
	// controller is the class of the controller that serves the store. Empty:
	// any.
	// +optional
	Controller string `json:"controller,omitempty"`

	// provider is the service.
	// +kubebuilder:validation:Type=object
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=1
	Provider *SecretStoreProvider `json:"provider"`

	// retrySettings is how often a failed request is tried again at once.
	// +optional
	RetrySettings *RetrySettings `json:"retrySettings,omitempty"`

	// refreshInterval is how often the store is looked at: a number of seconds
	// or a Go duration. Empty or 0: as the controller is set.
	// +optional
	// +kubebuilder:validation:XValidation:rule="type(self) != int || self >= -2147483648 && self <= 2147483647",message="must be a number of seconds below 2147483648, or a duration such as 5m"
	RefreshInterval *intstr.IntOrString `json:"refreshInterval,omitempty"`

	// conditions are the namespaces that may use a ClusterSecretStore: those
	// that any entry admits. Empty: all.
	// +optional
	Conditions []StoreCondition `json:"conditions,omitempty"`
}

// StoreCondition admits namespaces to a ClusterSecretStore, by any of its
// fields.
type StoreCondition struct {
	// namespaceSelector admits namespaces by label.
	// +optional
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`

	// namespaces admits namespaces by name.
	// +optional
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Namespaces []string `json:"namespaces,omitempty"`

	// namespaceRegexes admits namespaces whose whole name matches.
	// +optional
	NamespaceRegexes []string `json:"namespaceRegexes,omitempty"`
}

// RetrySettings is how often a failed request is tried again at once.
type RetrySettings struct {
	// maxRetries is the number of further tries.
	// +optional
	MaxRetries *int32 `json:"maxRetries,omitempty"`
	// retryInterval is the time between them, as a Go duration.
	// +optional
	RetryInterval *string `json:"retryInterval,omitempty"`
}

// SecretKeySelector names a key of a Secret.
type SecretKeySelector struct {
	// name of the Secret.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name,omitempty"`

	// namespace of the Secret; for a ClusterSecretStore only.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Namespace *string `json:"namespace,omitempty"`

	// key in the Secret.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key,omitempty"`
}

// ServiceAccountSelector names a ServiceAccount.
type ServiceAccountSelector struct {
	// name of the ServiceAccount.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name"`

	// namespace of the ServiceAccount; for a ClusterSecretStore only.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Namespace *string `json:"namespace,omitempty"`

	// audiences of the token, besides the one that the provider needs.
	// +optional
	Audiences []string `json:"audiences,omitempty"`
}

// CAProvider names a bundle of PEM certificates.
type CAProvider struct {
	// type of the object: Secret or ConfigMap.
	Type CAProviderType `json:"type"`

	// name of the object.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name"`

	// key in the object.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key,omitempty"`

	// namespace of the object; for a ClusterSecretStore only.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Namespace *string `json:"namespace,omitempty"`
}

// CAProviderType is the kind of object that holds certificates.
// +kubebuilder:validation:Enum=Secret;ConfigMap
type CAProviderType string

// Where certificates can be.
const (
	CASecret    CAProviderType = "Secret"
	CAConfigMap CAProviderType = "ConfigMap"
)
