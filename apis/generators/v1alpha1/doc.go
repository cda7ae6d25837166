// Package v1alpha1 holds the kinds of generators.external-secrets.io that the
// suite serves: objects that make values up, for dataFrom of an ExternalSecret.
// No field has a default in the schema; each comment says what an empty one
// means.
//
// +kubebuilder:object:generate=true
// +groupName=generators.external-secrets.io
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and its only version.
var GroupVersion = schema.GroupVersion{Group: "generators.external-secrets.io", Version: "v1alpha1"}

// Kinds of this group, as spelled in manifests.
const (
	PasswordKind              = "Password"
	UUIDKind                  = "UUID"
	SSHKeyKind                = "SSHKey"
	FakeKind                  = "Fake"
	WebhookKind               = "Webhook"
	ECRAuthorizationTokenKind = "ECRAuthorizationToken"
	STSSessionTokenKind       = "STSSessionToken"
	GCRAccessTokenKind        = "GCRAccessToken"
	VaultDynamicSecretKind    = "VaultDynamicSecret"
	ClusterGeneratorKind      = "ClusterGenerator"
)

// AddToScheme makes the types of this package known to scheme.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&Password{}, &PasswordList{},
		&UUID{}, &UUIDList{},
		&SSHKey{}, &SSHKeyList{},
		&Fake{}, &FakeList{},
		&Webhook{}, &WebhookList{},
		&ECRAuthorizationToken{}, &ECRAuthorizationTokenList{},
		&STSSessionToken{}, &STSSessionTokenList{},
		&GCRAccessToken{}, &GCRAccessTokenList{},
		&VaultDynamicSecret{}, &VaultDynamicSecretList{},
		&ClusterGenerator{}, &ClusterGeneratorList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
