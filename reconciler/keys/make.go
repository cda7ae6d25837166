package keys

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/sealer"
)

// ensure makes the first sealing key if there is none. It runs in the leader,
// once. A key Secret that is there and malformed counts as one: a mistake in a
// restored backup must not be answered with a key that opens nothing of it.
func (c *Controller) ensure(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	secrets, err := c.list(ctx)
	if err != nil {
		return err
	}
	if len(secrets) > 0 {
		c.fill(secrets)
		return nil
	}
	secret, err := c.create(ctx)
	if err != nil {
		return fmt.Errorf("make the first sealing key: %w", err)
	}
	c.loaded = map[string]loaded{}
	if err := c.put(secret); err != nil {
		return err
	}
	c.publish()
	ctrl.LoggerFrom(ctx).Info("made the first sealing key: keep a backup of it", "secret", secret.Name, "fingerprint", c.loaded[secret.Name].key.Fingerprint)
	return nil
}

// create makes a key Secret as Sealed Secrets does.
func (c *Controller) create(ctx context.Context) (*corev1.Secret, error) {
	private, cert, err := sealer.NewCertificate(c.KeySize, c.TTL, "")
	if err != nil {
		return nil, err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:    c.Namespace,
			GenerateName: c.Prefix,
			Labels:       map[string]string{bitnamiv1alpha1.LabelSealingKey: bitnamiv1alpha1.LabelSealingKeyActive},
		},
		Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{
			corev1.TLSPrivateKeyKey: sealer.EncodePrivateKey(private),
			corev1.TLSCertKey:       sealer.EncodeCertificate(cert),
		},
	}
	if err := c.Client.Create(ctx, secret); err != nil {
		return nil, fmt.Errorf("create key Secret in namespace %q: %w", c.Namespace, err)
	}
	return secret, nil
}
