package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
)

// ECRAuthorizationToken asks AWS for what logs in to a registry of containers,
// for 12 hours. The keys are username, password, expires_at (Unix seconds) and,
// with scope private, proxy_endpoint.
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets,external-secrets-generators}
type ECRAuthorizationToken struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec ECRAuthorizationTokenSpec `json:"spec,omitzero"`
}

// ECRAuthorizationTokenList is a list of ECRAuthorizationTokens.
// +kubebuilder:object:root=true
type ECRAuthorizationTokenList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ECRAuthorizationToken `json:"items"`
}

// ECRAuthorizationTokenSpec says which registry, and who asks.
type ECRAuthorizationTokenSpec struct {
	// region of the registry, such as eu-central-1. That of scope public is
	// us-east-1.
	Region string `json:"region"`

	// auth is how to get in.
	// +optional
	Auth esv1.AWSAuth `json:"auth,omitzero"`

	// role is the ARN of a role to assume. Empty: none.
	// +optional
	Role string `json:"role,omitempty"`

	// scope is private for the registry of an account, or public for
	// public.ecr.aws. Empty: private.
	// +optional
	Scope string `json:"scope,omitempty"`
}

// Scopes of an ECRAuthorizationToken.
const (
	ECRPrivate = "private"
	ECRPublic  = "public"
)

// STSSessionToken asks AWS for a session of the user that auth names. The keys
// are access_key_id, secret_access_key, session_token and expiration (Unix
// seconds).
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets,external-secrets-generators}
type STSSessionToken struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec STSSessionTokenSpec `json:"spec,omitzero"`
}

// STSSessionTokenList is a list of STSSessionTokens.
// +kubebuilder:object:root=true
type STSSessionTokenList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []STSSessionToken `json:"items"`
}

// STSSessionTokenSpec says who asks, and for how long.
type STSSessionTokenSpec struct {
	// region of AWS STS, such as eu-central-1.
	Region string `json:"region"`

	// auth is how to get in.
	// +optional
	Auth esv1.AWSAuth `json:"auth,omitzero"`

	// role is the ARN of a role to assume. Empty: none.
	// +optional
	Role string `json:"role,omitempty"`

	// requestParameters are further settings. Empty: none.
	// +optional
	RequestParameters *STSRequestParameters `json:"requestParameters,omitempty"`
}

// STSRequestParameters are settings of a session.
type STSRequestParameters struct {
	// sessionDuration in seconds: 900 to 129600. Empty: what AWS gives, 12
	// hours.
	// +optional
	SessionDuration *int32 `json:"sessionDuration,omitempty"`

	// serialNumber of the device of multi-factor authentication. Empty: none.
	// +optional
	SerialNumber *string `json:"serialNumber,omitempty"`

	// tokenCode that the device shows. Empty: none.
	// +optional
	TokenCode *string `json:"tokenCode,omitempty"`
}

// GCRAccessToken asks Google for what logs in to a registry of containers. The
// keys are username, password and expiry (Unix seconds).
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets,external-secrets-generators}
type GCRAccessToken struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec GCRAccessTokenSpec `json:"spec,omitzero"`
}

// GCRAccessTokenList is a list of GCRAccessTokens.
// +kubebuilder:object:root=true
type GCRAccessTokenList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []GCRAccessToken `json:"items"`
}

// GCRAccessTokenSpec says who asks.
type GCRAccessTokenSpec struct {
	// auth is how to get in.
	// +optional
	Auth esv1.GCPAuth `json:"auth,omitzero"`

	// projectID is the project that auth belongs to.
	ProjectID string `json:"projectID"`
}

// VaultDynamicSecret asks Vault or OpenBao for credentials that it makes, such
// as a user of a database. They are asked for anew before their lease ends.
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets,external-secrets-generators}
type VaultDynamicSecret struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec VaultDynamicSecretSpec `json:"spec,omitzero"`
}

// VaultDynamicSecretList is a list of VaultDynamicSecrets.
// +kubebuilder:object:root=true
type VaultDynamicSecretList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []VaultDynamicSecret `json:"items"`
}

// VaultDynamicSecretSpec is a request to Vault.
type VaultDynamicSecretSpec struct {
	// controller is the class of the controller that serves the generator.
	// Empty: any.
	// +optional
	Controller string `json:"controller,omitempty"`

	// method of the request: GET, LIST, DELETE, or POST and PUT, which are one.
	// Empty: GET.
	// +optional
	Method string `json:"method,omitempty"`

	// parameters are the body of a POST.
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	Parameters *runtime.RawExtension `json:"parameters,omitempty"`

	// getParameters are the query of a GET.
	// +optional
	GetParameters map[string][]string `json:"getParameters,omitempty"`

	// resultType is what of the answer is taken: its Data, its Auth (a token
	// that Vault made), or Raw for all of it. Empty: Data.
	// +optional
	// +kubebuilder:validation:Enum=Data;Auth;Raw
	ResultType string `json:"resultType,omitempty"`

	// retrySettings is how often a request that failed is tried again at once.
	// Empty: not at once.
	// +optional
	RetrySettings *esv1.RetrySettings `json:"retrySettings,omitempty"`

	// provider is where Vault is, and how to get in.
	Provider *esv1.VaultProvider `json:"provider"`

	// path of the request below /v1/, such as database/creds/app.
	Path string `json:"path"`

	// allowEmptyResponse lets Vault answer with nothing.
	// +optional
	AllowEmptyResponse bool `json:"allowEmptyResponse,omitempty"`
}

// Values of resultType.
const (
	VaultResultData = "Data"
	VaultResultAuth = "Auth"
	VaultResultRaw  = "Raw"
)

// Webhook asks a service that answers HTTP with a JSON object, whose keys it
// takes.
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets,external-secrets-generators}
type Webhook struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec WebhookSpec `json:"spec,omitzero"`
}

// WebhookList is a list of Webhooks.
// +kubebuilder:object:root=true
type WebhookList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Webhook `json:"items"`
}

// WebhookSpec is a request, as that of a store.
type WebhookSpec struct {
	esv1.WebhookProvider `json:",inline"`
}
