package v1

// KubernetesProvider is the Secrets of a namespace, of this cluster or another.
type KubernetesProvider struct {
	// server is where the API server is.
	// +optional
	Server KubernetesServer `json:"server,omitzero"`

	// auth is how to get in: one of its fields.
	// +optional
	// +kubebuilder:validation:Type=object
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=1
	Auth *KubernetesAuth `json:"auth,omitempty"`

	// authRef is a Secret that holds a kubeconfig, instead of auth and server.
	// +optional
	AuthRef *SecretKeySelector `json:"authRef,omitempty"`

	// remoteNamespace holds the Secrets. Empty: default.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	RemoteNamespace string `json:"remoteNamespace,omitempty"`
}

// KubernetesServer is where an API server is.
type KubernetesServer struct {
	// url of the API server. Empty: kubernetes.default, which is that of this
	// cluster.
	// +optional
	URL string `json:"url,omitempty"`

	// caBundle is PEM certificates that sign for the server.
	// +optional
	CABundle []byte `json:"caBundle,omitempty"`

	// caProvider is where such certificates are kept.
	// +optional
	CAProvider *CAProvider `json:"caProvider,omitempty"`
}

// KubernetesAuth is how to get into an API server.
type KubernetesAuth struct {
	// cert is a client certificate.
	// +optional
	Cert *KubernetesCertAuth `json:"cert,omitempty"`

	// token is a token in a Secret.
	// +optional
	Token *KubernetesTokenAuth `json:"token,omitempty"`

	// serviceAccount is whose token to ask the API server for.
	// +optional
	ServiceAccount *ServiceAccountSelector `json:"serviceAccount,omitempty"`
}

// KubernetesCertAuth is a client certificate.
type KubernetesCertAuth struct {
	// clientCert is a Secret that holds the certificate. Empty key: tls.crt.
	// +optional
	ClientCert SecretKeySelector `json:"clientCert,omitzero"`
	// clientKey is a Secret that holds the private key. Empty key: tls.key.
	// +optional
	ClientKey SecretKeySelector `json:"clientKey,omitzero"`
}

// KubernetesTokenAuth is a token in a Secret.
type KubernetesTokenAuth struct {
	// bearerToken is a Secret that holds the token. Empty key: token.
	// +optional
	BearerToken SecretKeySelector `json:"bearerToken,omitzero"`
}
