package v1

// OpenBaoProvider is a KV engine of OpenBao. What it has no field for, such as
// a client certificate, the provider vault has, and serves OpenBao too.
type OpenBaoProvider struct {
	// server is the address, such as https://openbao.example.com:8200.
	Server string `json:"server"`

	// auth is how to get in. Empty: a proxy in front of the server adds the
	// token.
	// +optional
	Auth *OpenBaoAuth `json:"auth,omitempty"`

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
}

// OpenBaoAuth is how to get into OpenBao: one of tokenSecretRef, appRole,
// kubernetes and userPass.
type OpenBaoAuth struct {
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

	// userPass is a user of the server.
	// +optional
	UserPass *VaultUserPassAuth `json:"userPass,omitempty"`
}
