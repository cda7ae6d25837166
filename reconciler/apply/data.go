package apply

import (
	"context"
	"fmt"

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
