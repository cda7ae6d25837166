package keys

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/sealer"
)

// NewSecret makes a key, and the Secret that Sealed Secrets would make for it,
// which is for the caller to create.
func NewSecret(t Template) (*corev1.Secret, error) {
	private, cert, err := sealer.NewCertificate(t.Size, t.TTL, t.CommonName)
	if err != nil {
		return nil, err
	}
	labels := map[string]string{}
	maps.Copy(labels, t.Labels)
	labels[bitnamiv1alpha1.LabelSealingKey] = bitnamiv1alpha1.LabelSealingKeyActive
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: t.Namespace, GenerateName: t.Prefix, Labels: labels, Annotations: t.Annotations},
		Type:       corev1.SecretTypeTLS,
		Data: map[string][]byte{
			corev1.TLSPrivateKeyKey: sealer.EncodePrivateKey(private),
			corev1.TLSCertKey:       sealer.EncodeCertificate(cert),
		},
	}, nil
}
