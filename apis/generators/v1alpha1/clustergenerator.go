package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ClusterGenerator is a generator for all namespaces. What it refers to is in
// the namespace of the object that uses it.
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Cluster,categories={external-secrets,external-secrets-generators}
type ClusterGenerator struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec ClusterGeneratorSpec `json:"spec,omitzero"`
}

// ClusterGeneratorList is a list of ClusterGenerators.
// +kubebuilder:object:root=true
type ClusterGeneratorList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterGenerator `json:"items"`
}

// ClusterGeneratorSpec is a generator of any other kind.
type ClusterGeneratorSpec struct {
	// kind of the generator.
	// +kubebuilder:validation:MinLength=1
	Kind string `json:"kind"`

	// generator is its spec, which must be that of kind.
	Generator GeneratorSpec `json:"generator"`
}

// GeneratorSpec is one of its fields. The specs of kinds that this version does
// not have are kept as they are.
// +kubebuilder:pruning:PreserveUnknownFields
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:MaxProperties=1
type GeneratorSpec struct {
	// +optional
	ECRAuthorizationToken *ECRAuthorizationTokenSpec `json:"ecrAuthorizationTokenSpec,omitempty"`
	// +optional
	Fake *FakeSpec `json:"fakeSpec,omitempty"`
	// +optional
	GCRAccessToken *GCRAccessTokenSpec `json:"gcrAccessTokenSpec,omitempty"`
	// +optional
	Password *PasswordSpec `json:"passwordSpec,omitempty"`
	// +optional
	SSHKey *SSHKeySpec `json:"sshKeySpec,omitempty"`
	// +optional
	STSSessionToken *STSSessionTokenSpec `json:"stsSessionTokenSpec,omitempty"`
	// +optional
	UUID *UUIDSpec `json:"uuidSpec,omitempty"`
	// +optional
	VaultDynamicSecret *VaultDynamicSecretSpec `json:"vaultDynamicSecretSpec,omitempty"`
	// +optional
	Webhook *WebhookSpec `json:"webhookSpec,omitempty"`
}
