package apply

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
)

// Data reads the data of a ConfigMap or Secret as the client's account. The
// values of a Secret are the caller's to keep out of sight.
func (c *Client) Data(ctx context.Context, kind, namespace, name string) (map[string]string, error) {
	switch kind {
	case "ConfigMap":
		var cm corev1.ConfigMap
		if err := c.raw.Get().AbsPath("/api/v1/namespaces", namespace, "configmaps", name).Do(ctx).Into(&cm); err != nil {
			return nil, err
		}
		return cm.Data, nil
	case "Secret":
		var secret corev1.Secret
		if err := c.raw.Get().AbsPath("/api/v1/namespaces", namespace, "secrets", name).Do(ctx).Into(&secret); err != nil {
			return nil, err
		}
		data := make(map[string]string, len(secret.Data))
		for k, v := range secret.Data {
			data[k] = string(v)
		}
		return data, nil
	default:
		return nil, fmt.Errorf("kind %q cannot be read from: use ConfigMap or Secret", kind)
	}
}

// ServiceAccount returns the annotations of a ServiceAccount.
func (c *Client) ServiceAccount(ctx context.Context, namespace, name string) (map[string]string, error) {
	var account corev1.ServiceAccount
	if err := c.raw.Get().AbsPath("/api/v1/namespaces", namespace, "serviceaccounts", name).Do(ctx).Into(&account); err != nil {
		return nil, err
	}
	return account.Annotations, nil
}

// Token makes a token of a ServiceAccount, and says when it expires. No
// audiences are those of the API server.
func (c *Client) Token(ctx context.Context, namespace, name string, audiences []string, seconds int64) (string, time.Time, error) {
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences, ExpirationSeconds: &seconds}}
	request.APIVersion, request.Kind = "authentication.k8s.io/v1", "TokenRequest"
	err := c.raw.Post().AbsPath("/api/v1/namespaces", namespace, "serviceaccounts", name, "token").Body(request).Do(ctx).Into(request)
	return request.Status.Token, request.Status.ExpirationTimestamp.Time, err
}
