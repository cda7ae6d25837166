package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// WebhookProvider is any service that answers HTTP with JSON or text.
type WebhookProvider struct {
	// method of the request. Empty: GET.
	// +optional
	Method string `json:"method,omitempty"`

	// url is where to send it: a template over .remoteRef.key, .version,
	// .property and .namespace, and over .NAME.KEY for each of secrets. What is
	// put in is escaped. Scheme, host and port are no template.
	URL string `json:"url"`

	// headers of the request: templates as url is.
	// +optional
	Headers map[string]string `json:"headers,omitempty"`

	// body of the request: a template as url is.
	// +optional
	Body string `json:"body,omitempty"`

	// auth is how to get in, besides headers.
	// +optional
	Auth *WebhookAuth `json:"auth,omitempty"`

	// timeout of the request, at most 30s. Empty: 10s.
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// result is what of the answer is the value.
	// +optional
	Result WebhookResult `json:"result,omitzero"`

	// secrets are what the templates may use.
	// +optional
	Secrets []WebhookSecret `json:"secrets,omitempty"`

	// caBundle is PEM certificates that sign for the server. Empty: those of
	// the system.
	// +optional
	CABundle []byte `json:"caBundle,omitempty"`

	// caProvider is where such certificates are kept.
	// +optional
	CAProvider *CAProvider `json:"caProvider,omitempty"`
}

// WebhookAuth is how to get into a webhook.
type WebhookAuth struct {
	// ntlm is a user of Windows.
	// +optional
	NTLM *WebhookNTLM `json:"ntlm,omitempty"`
}

// WebhookNTLM is a user of Windows.
type WebhookNTLM struct {
	// usernameSecret is a Secret that holds the name.
	UserName SecretKeySelector `json:"usernameSecret"`
	// passwordSecret is a Secret that holds the password.
	Password SecretKeySelector `json:"passwordSecret"`
}

// WebhookResult is what of an answer is the value.
type WebhookResult struct {
	// jsonPath leads to the value, such as $.data.password. Empty: the whole
	// answer.
	// +optional
	JSONPath string `json:"jsonPath,omitempty"`
}

// WebhookSecret is a Secret for templates.
type WebhookSecret struct {
	// name that the templates call it.
	Name string `json:"name"`
	// secretRef is the Secret.
	SecretRef SecretKeySelector `json:"secretRef"`
}
