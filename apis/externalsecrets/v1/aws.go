package v1

// AWSProvider is AWS Secrets Manager or Systems Manager Parameter Store.
type AWSProvider struct {
	// service to read from.
	Service AWSService `json:"service"`

	// region of the service, such as eu-central-1.
	Region string `json:"region"`

	// auth is how to get in.
	// +optional
	Auth AWSAuth `json:"auth,omitzero"`

	// role is the ARN of a role to assume, after additionalRoles.
	// +optional
	Role string `json:"role,omitempty"`

	// additionalRoles are ARNs of roles to assume first, in order.
	// +optional
	AdditionalRoles []string `json:"additionalRoles,omitempty"`

	// externalID is what the trust policy of role may ask for.
	// +optional
	ExternalID string `json:"externalID,omitempty"`

	// sessionTags of the assumed role.
	// +optional
	SessionTags []AWSTag `json:"sessionTags,omitempty"`

	// transitiveTagKeys are the session tags that are passed on along a chain
	// of roles.
	// +optional
	TransitiveTagKeys []string `json:"transitiveTagKeys,omitempty"`

	// sessionTagsPolicy adds tags that say which object a read is for: None,
	// Simple or Custom. Empty: None.
	// +optional
	// +kubebuilder:validation:Enum=None;Simple;Custom
	SessionTagsPolicy string `json:"sessionTagsPolicy,omitempty"`

	// customSessionTags are further tags, with sessionTagsPolicy Custom.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!('esoNamespace' in self) && !('esoStoreName' in self) && !('esoStoreKind' in self)",message="esoNamespace, esoStoreName and esoStoreKind are set by the controller"
	CustomSessionTags map[string]string `json:"customSessionTags,omitempty"`

	// prefix is put before every key.
	// +optional
	Prefix string `json:"prefix,omitempty"`

	// secretsManager is for writes to Secrets Manager.
	// +optional
	SecretsManager *AWSSecretsManager `json:"secretsManager,omitempty"`
}

// Values of sessionTagsPolicy.
const (
	AWSSessionTagsNone   = "None"
	AWSSessionTagsSimple = "Simple"
	AWSSessionTagsCustom = "Custom"
)

// AWSService is a service that holds secrets.
// +kubebuilder:validation:Enum=SecretsManager;ParameterStore;CertificateManager
type AWSService string

// Services that hold secrets.
const (
	AWSServiceSecretsManager     AWSService = "SecretsManager"
	AWSServiceParameterStore     AWSService = "ParameterStore"
	AWSServiceCertificateManager AWSService = "CertificateManager"
)

// AWSAuth is how to get into AWS: one of its fields. Empty: the identity of
// the controller itself.
type AWSAuth struct {
	// secretRef is an access key.
	// +optional
	SecretRef *AWSAuthSecretRef `json:"secretRef,omitempty"`

	// jwt is a ServiceAccount with a role (IRSA).
	// +optional
	JWT *AWSAuthJWT `json:"jwt,omitempty"`
}

// AWSAuthSecretRef is an access key that Secrets hold.
type AWSAuthSecretRef struct {
	// accessKeyIDSecretRef is the id of the key.
	// +optional
	AccessKeyID SecretKeySelector `json:"accessKeyIDSecretRef,omitzero"`

	// secretAccessKeySecretRef is the key.
	// +optional
	SecretAccessKey SecretKeySelector `json:"secretAccessKeySecretRef,omitzero"`

	// sessionTokenSecretRef is the token that goes with a temporary key.
	// +optional
	SessionToken *SecretKeySelector `json:"sessionTokenSecretRef,omitempty"`
}

// AWSAuthJWT is a ServiceAccount whose annotation eks.amazonaws.com/role-arn
// names a role.
type AWSAuthJWT struct {
	// serviceAccountRef is the ServiceAccount.
	// +optional
	ServiceAccountRef *ServiceAccountSelector `json:"serviceAccountRef,omitempty"`
}

// AWSTag is a session tag.
type AWSTag struct {
	// key of the tag.
	Key string `json:"key"`
	// value of the tag.
	Value string `json:"value"`
}

// AWSSecretsManager is how secrets are deleted there.
type AWSSecretsManager struct {
	// forceDeleteWithoutRecovery deletes at once.
	// +optional
	ForceDeleteWithoutRecovery bool `json:"forceDeleteWithoutRecovery,omitempty"`
	// recoveryWindowInDays is how long a deleted secret can be restored.
	// +optional
	RecoveryWindowInDays int64 `json:"recoveryWindowInDays,omitempty"`
}
