package v1

// GCPProvider is Google Cloud Secret Manager.
type GCPProvider struct {
	// auth is how to get in. Empty: the identity of the controller itself.
	// +optional
	Auth GCPAuth `json:"auth,omitzero"`

	// projectID is the project that holds the secrets. Empty: that of the
	// cluster of auth.workloadIdentity.
	// +optional
	ProjectID string `json:"projectID,omitempty"`

	// location holds regional secrets, such as europe-west3. Empty: global
	// ones.
	// +optional
	Location string `json:"location,omitempty"`

	// secretVersionSelectionPolicy is what to read if the latest version is
	// disabled or destroyed: LatestOrFail, or LatestOrFetch for the newest one
	// that is enabled. Empty: LatestOrFail.
	// +optional
	// +kubebuilder:validation:Enum=LatestOrFail;LatestOrFetch
	SecretVersionSelectionPolicy string `json:"secretVersionSelectionPolicy,omitempty"`
}

// Policies for secretVersionSelectionPolicy.
const (
	GCPLatestOrFail  = "LatestOrFail"
	GCPLatestOrFetch = "LatestOrFetch"
)

// GCPAuth is how to get into Google Cloud: one of its fields.
type GCPAuth struct {
	// secretRef is the key of a service account.
	// +optional
	SecretRef *GCPAuthSecretRef `json:"secretRef,omitempty"`

	// workloadIdentity is a ServiceAccount of a GKE cluster.
	// +optional
	WorkloadIdentity *GCPWorkloadIdentity `json:"workloadIdentity,omitempty"`

	// workloadIdentityFederation is an identity of any cluster, or of AWS,
	// that a workload identity pool trusts.
	// +optional
	WorkloadIdentityFederation *GCPWorkloadIdentityFederation `json:"workloadIdentityFederation,omitempty"`
}

// GCPWorkloadIdentityFederation is an identity that a workload identity pool
// trusts.
type GCPWorkloadIdentityFederation struct {
	// credConfig is a ConfigMap with a credential configuration.
	// +optional
	CredConfig *GCPConfigMapKey `json:"credConfig,omitempty"`

	// serviceAccountRef is whose token to ask the API server for.
	// +optional
	ServiceAccountRef *ServiceAccountSelector `json:"serviceAccountRef,omitempty"`

	// awsSecurityCredentials is an access key of AWS.
	// +optional
	AWSSecurityCredentials *GCPAWSSecurityCredentials `json:"awsSecurityCredentials,omitempty"`

	// audience is the provider of the pool, such as
	// //iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k.
	// +optional
	Audience string `json:"audience,omitempty"`

	// externalTokenEndpoint is what the URL in credConfig must be.
	// +optional
	ExternalTokenEndpoint string `json:"externalTokenEndpoint,omitempty"`

	// gcpServiceAccountEmail is the service account to act as. Empty: what the
	// annotation iam.gke.io/gcp-service-account of the ServiceAccount says, or
	// none.
	// +optional
	GCPServiceAccountEmail string `json:"gcpServiceAccountEmail,omitempty"`
}

// GCPConfigMapKey names a key of a ConfigMap.
type GCPConfigMapKey struct {
	// name of the ConfigMap.
	Name string `json:"name"`
	// key in the ConfigMap.
	Key string `json:"key"`
	// namespace of the ConfigMap; for a ClusterSecretStore only.
	// +optional
	Namespace string `json:"namespace,omitempty"`
}

// GCPAWSSecurityCredentials is an access key of AWS.
type GCPAWSSecurityCredentials struct {
	// region of AWS, such as eu-central-1.
	Region string `json:"region"`

	// awsCredentialsSecretRef is a Secret with the keys aws_access_key_id,
	// aws_secret_access_key and, for a temporary one, aws_session_token.
	AWSCredentialsSecretRef GCPSecretName `json:"awsCredentialsSecretRef"`
}

// GCPSecretName names a Secret.
type GCPSecretName struct {
	// name of the Secret.
	Name string `json:"name"`
	// namespace of the Secret; for a ClusterSecretStore only.
	// +optional
	Namespace string `json:"namespace,omitempty"`
}
