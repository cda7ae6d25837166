package v1

// VaultProvider is a KV engine of HashiCorp Vault or OpenBao.
type VaultProvider struct {
	// server is the address, such as https://vault.example.com:8200.
	Server string `json:"server"`

	// auth is how to get in. Empty: a proxy in front of the server adds the
	// token.
	// +optional
	Auth *VaultAuth `json:"auth,omitempty"`

	// path is where the KV engine is mounted, such as secret. Empty: the keys
	// begin with it.
	// +optional
	Path *string `json:"path,omitempty"`

	// version of the KV engine. Empty: v2.
	// +optional
	Version VaultKVVersion `json:"version,omitempty"`

	// namespace of the engine.
	// +optional
	Namespace *string `json:"namespace,omitempty"`

	// caBundle is PEM certificates that sign for the server. Empty: those of
	// the system.
	// +optional
	CABundle []byte `json:"caBundle,omitempty"`

	// caProvider is where such certificates are kept.
	// +optional
	CAProvider *CAProvider `json:"caProvider,omitempty"`

	// tls is the certificate of the client.
	// +optional
	TLS VaultTLS `json:"tls,omitzero"`

	// readYourWrites asks for answers as new as what this client has seen.
	// +optional
	ReadYourWrites bool `json:"readYourWrites,omitempty"`

	// forwardInconsistent has a server that is behind ask the leader.
	// +optional
	ForwardInconsistent bool `json:"forwardInconsistent,omitempty"`

	// headers are sent with each request.
	// +optional
	Headers map[string]string `json:"headers,omitempty"`

	// checkAndSet is for writes.
	// +optional
	CheckAndSet *VaultCheckAndSet `json:"checkAndSet,omitempty"`
}

// VaultKVVersion is a version of the KV engine.
// +kubebuilder:validation:Enum=v1;v2
type VaultKVVersion string

// Versions of the KV engine.
const (
	VaultKVv1 VaultKVVersion = "v1"
	VaultKVv2 VaultKVVersion = "v2"
)

// VaultTLS is the certificate of a client.
type VaultTLS struct {
	// certSecretRef is the certificate. Empty key: tls.crt.
	// +optional
	CertSecretRef *SecretKeySelector `json:"certSecretRef,omitempty"`
	// keySecretRef is the private key. Empty key: tls.key.
	// +optional
	KeySecretRef *SecretKeySelector `json:"keySecretRef,omitempty"`
}

// VaultCheckAndSet is for writes.
type VaultCheckAndSet struct {
	// required makes each write name the version that it replaces.
	// +optional
	Required bool `json:"required,omitempty"`
}

// VaultAuth is how to get into Vault. If several fields are set, the first in
// this order counts: tokenSecretRef, appRole, kubernetes, ldap, userPass, jwt,
// cert, iam, gcp.
type VaultAuth struct {
	// namespace to log in to. Empty: that of the engine.
	// +optional
	Namespace *string `json:"namespace,omitempty"`

	// tokenSecretRef is a token.
	// +optional
	TokenSecretRef *SecretKeySelector `json:"tokenSecretRef,omitempty"`

	// appRole is a role id and a secret id.
	// +optional
	AppRole *VaultAppRole `json:"appRole,omitempty"`

	// kubernetes is a token of a ServiceAccount, which the server reviews.
	// +optional
	Kubernetes *VaultKubernetesAuth `json:"kubernetes,omitempty"`

	// ldap is a user of a directory.
	// +optional
	LDAP *VaultLDAPAuth `json:"ldap,omitempty"`

	// jwt is a token of an issuer that the server trusts.
	// +optional
	JWT *VaultJWTAuth `json:"jwt,omitempty"`

	// cert is a client certificate.
	// +optional
	Cert *VaultCertAuth `json:"cert,omitempty"`

	// iam is an identity of AWS.
	// +optional
	IAM *VaultIAMAuth `json:"iam,omitempty"`

	// userPass is a user of the server.
	// +optional
	UserPass *VaultUserPassAuth `json:"userPass,omitempty"`

	// gcp is an identity of Google Cloud.
	// +optional
	GCP *VaultGCPAuth `json:"gcp,omitempty"`
}

// VaultAppRole is a role id and a secret id.
type VaultAppRole struct {
	// path of the auth method. Empty: approle.
	// +optional
	Path string `json:"path,omitempty"`
	// roleId is the role id itself.
	// +optional
	RoleID string `json:"roleId,omitempty"`
	// roleRef is a Secret that holds the role id.
	// +optional
	RoleRef *SecretKeySelector `json:"roleRef,omitempty"`
	// secretRef is a Secret that holds the secret id.
	SecretRef SecretKeySelector `json:"secretRef"`
}

// VaultKubernetesAuth is a token of a ServiceAccount.
type VaultKubernetesAuth struct {
	// mountPath of the auth method. Empty: kubernetes.
	// +optional
	Path string `json:"mountPath,omitempty"`
	// serviceAccountRef is whose token to ask the API server for.
	// +optional
	ServiceAccountRef *ServiceAccountSelector `json:"serviceAccountRef,omitempty"`
	// secretRef is a Secret that holds a token. Empty key: token.
	// +optional
	SecretRef *SecretKeySelector `json:"secretRef,omitempty"`
	// role of the auth method.
	Role string `json:"role"`
}

// VaultLDAPAuth is a user of a directory.
type VaultLDAPAuth struct {
	// path of the auth method. Empty: ldap.
	// +optional
	Path string `json:"path,omitempty"`
	// username of the user.
	Username string `json:"username"`
	// secretRef is a Secret that holds the password.
	// +optional
	SecretRef SecretKeySelector `json:"secretRef,omitzero"`
}

// VaultUserPassAuth is a user of the server.
type VaultUserPassAuth struct {
	// path of the auth method. Empty: userpass.
	// +optional
	Path string `json:"path,omitempty"`
	// username of the user.
	Username string `json:"username"`
	// secretRef is a Secret that holds the password.
	// +optional
	SecretRef SecretKeySelector `json:"secretRef,omitzero"`
}

// VaultJWTAuth is a token of an issuer that the server trusts.
type VaultJWTAuth struct {
	// path of the auth method. Empty: jwt.
	// +optional
	Path string `json:"path,omitempty"`
	// role of the auth method. Empty: its default.
	// +optional
	Role string `json:"role,omitempty"`
	// secretRef is a Secret that holds a token.
	// +optional
	SecretRef *SecretKeySelector `json:"secretRef,omitempty"`
	// kubernetesServiceAccountToken is whose token to ask the API server for.
	// +optional
	KubernetesServiceAccountToken *VaultServiceAccountToken `json:"kubernetesServiceAccountToken,omitempty"`
}

// VaultServiceAccountToken is a token to ask the API server for.
type VaultServiceAccountToken struct {
	// serviceAccountRef is whose token.
	ServiceAccountRef ServiceAccountSelector `json:"serviceAccountRef"`
	// audiences of the token; better set them in serviceAccountRef. Empty:
	// vault.
	// +optional
	Audiences []string `json:"audiences,omitempty"`
	// expirationSeconds is how long it lives. Empty: 600.
	// +optional
	ExpirationSeconds *int64 `json:"expirationSeconds,omitempty"`
}

// VaultCertAuth is a client certificate.
type VaultCertAuth struct {
	// path of the auth method. Empty: cert.
	// +optional
	Path string `json:"path,omitempty"`
	// vaultRole of the auth method. Empty: the one that matches.
	// +optional
	VaultRole string `json:"vaultRole,omitempty"`
	// clientCert is a Secret that holds the certificate.
	// +optional
	ClientCert SecretKeySelector `json:"clientCert,omitzero"`
	// secretRef is a Secret that holds the private key.
	// +optional
	SecretRef SecretKeySelector `json:"secretRef,omitzero"`
}

// VaultIAMAuth is an identity of AWS.
type VaultIAMAuth struct {
	// path of the auth method. Empty: aws.
	// +optional
	Path string `json:"path,omitempty"`
	// region to sign for.
	// +optional
	Region string `json:"region,omitempty"`
	// role is the ARN of a role of AWS to assume first.
	// +optional
	Role string `json:"role,omitempty"`
	// vaultRole of the auth method.
	VaultRole string `json:"vaultRole"`
	// externalID is what the trust policy of role may ask for.
	// +optional
	ExternalID string `json:"externalID,omitempty"`
	// vaultAwsIamServerID is the header value that the auth method may ask for.
	// +optional
	ServerID string `json:"vaultAwsIamServerID,omitempty"`
	// secretRef is an access key.
	// +optional
	SecretRef *AWSAuthSecretRef `json:"secretRef,omitempty"`
	// jwt is a ServiceAccount with a role (IRSA).
	// +optional
	JWT *AWSAuthJWT `json:"jwt,omitempty"`
}

// VaultGCPAuth is an identity of Google Cloud.
type VaultGCPAuth struct {
	// path of the auth method. Empty: gcp.
	// +optional
	Path string `json:"path,omitempty"`
	// role of the auth method.
	Role string `json:"role"`
	// projectID of the identity.
	// +optional
	ProjectID string `json:"projectID,omitempty"`
	// location of the identity.
	// +optional
	Location string `json:"location,omitempty"`
	// secretRef is the key of a service account.
	// +optional
	SecretRef *GCPAuthSecretRef `json:"secretRef,omitempty"`
	// workloadIdentity is a ServiceAccount with an identity.
	// +optional
	WorkloadIdentity *GCPWorkloadIdentity `json:"workloadIdentity,omitempty"`
	// serviceAccountRef is a ServiceAccount to act as.
	// +optional
	ServiceAccountRef *ServiceAccountSelector `json:"serviceAccountRef,omitempty"`
}

// GCPAuthSecretRef is the key of a service account of Google Cloud.
type GCPAuthSecretRef struct {
	// secretAccessKeySecretRef is a Secret that holds the key.
	// +optional
	SecretAccessKey SecretKeySelector `json:"secretAccessKeySecretRef,omitzero"`
}

// GCPWorkloadIdentity is a ServiceAccount with an identity of Google Cloud.
type GCPWorkloadIdentity struct {
	// serviceAccountRef is the ServiceAccount.
	ServiceAccountRef ServiceAccountSelector `json:"serviceAccountRef"`
	// clusterLocation of the cluster.
	// +optional
	ClusterLocation string `json:"clusterLocation,omitempty"`
	// clusterName of the cluster.
	// +optional
	ClusterName string `json:"clusterName,omitempty"`
	// clusterProjectID of the cluster.
	// +optional
	ClusterProjectID string `json:"clusterProjectID,omitempty"`
}
