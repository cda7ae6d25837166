// Package manifest is what the clients know of Secrets and SealedSecrets as
// text: reading them, making one of the other, and changing a file in its place.
package manifest

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/sealer"
)

// MaxInput is the largest input in bytes: a hundred of the largest Secrets
// there can be, in base64.
const MaxInput = 100 << 21

// ErrNotSecret says that a document of the input is no Secret. What is wrong
// with it is not said: the decoder's words repeat the input, which is secret.
var ErrNotSecret = errors.New("is no Secret in YAML or JSON: values of data are base64, those of stringData text")

// Secrets reads a stream of Secrets in YAML or JSON; empty documents do not
// count. Its error is an ErrNotSecret.
func Secrets(in io.Reader) ([]*corev1.Secret, error) {
	decoder := yaml.NewYAMLOrJSONDecoder(io.LimitReader(in, MaxInput), 4096)
	var secrets []*corev1.Secret
	for {
		secret := &corev1.Secret{}
		err := decoder.Decode(secret)
		if errors.Is(err, io.EOF) {
			return secrets, nil
		}
		if err != nil {
			return nil, fmt.Errorf("document %d of the input %w", len(secrets)+1, ErrNotSecret)
		}
		if !equality.Semantic.DeepEqual(secret, &corev1.Secret{}) {
			secrets = append(secrets, secret)
		}
	}
}

// Sealed makes the SealedSecret of a Secret; seal returns one item as it is
// written. Of the metadata, the template gets all that a person may have
// written, and the SealedSecret itself only what the scope needs, as with the
// genuine kubeseal.
func Sealed(secret *corev1.Secret, seal func(item string, value []byte) (string, error)) (*bitnamiv1alpha1.SealedSecret, error) {
	ss := &bitnamiv1alpha1.SealedSecret{
		TypeMeta:   metav1.TypeMeta{APIVersion: bitnamiv1alpha1.GroupVersion.String(), Kind: bitnamiv1alpha1.SealedSecretKind},
		ObjectMeta: metav1.ObjectMeta{Namespace: secret.Namespace, Name: secret.Name, Annotations: WithScope(nil, ScopeOf(secret))},
	}
	ss.Spec.EncryptedData = bitnamiv1alpha1.EncryptedData{}
	ss.Spec.Template = bitnamiv1alpha1.SecretTemplateSpec{ObjectMeta: writable(secret.ObjectMeta), Type: secret.Type, Immutable: secret.Immutable}
	values := map[string][]byte{}
	maps.Copy(values, secret.Data)
	for item, text := range secret.StringData {
		values[item] = []byte(text)
	}
	for _, item := range slices.Sorted(maps.Keys(values)) {
		text, err := seal(item, values[item])
		if err != nil {
			return nil, fmt.Errorf("item %q: %w", item, err)
		}
		ss.Spec.EncryptedData[item] = text
	}
	return ss, nil
}

// lastApplied are annotations that hold the whole Secret.
var lastApplied = []string{"kubectl.kubernetes.io/last-applied-configuration", "kubecfg.ksonnet.io/last-applied-configuration"}

// writable returns m without what only the server sets, what belongs to one
// cluster, and what holds the values.
func writable(m metav1.ObjectMeta) metav1.ObjectMeta {
	m = *m.DeepCopy()
	m.SelfLink = "" //nolint:staticcheck // SA1019: old Secrets have it
	m.UID, m.ResourceVersion, m.Generation = "", "", 0
	m.CreationTimestamp, m.DeletionTimestamp, m.DeletionGracePeriodSeconds = metav1.Time{}, nil, nil
	m.OwnerReferences = nil
	for _, name := range lastApplied {
		delete(m.Annotations, name)
	}
	return m
}

// ScopeOf returns the scope that the annotations say.
func ScopeOf(o metav1.Object) sealer.Scope {
	switch annotations := o.GetAnnotations(); {
	case annotations[bitnamiv1alpha1.AnnotationClusterWide] == "true":
		return sealer.ClusterWide
	case annotations[bitnamiv1alpha1.AnnotationNamespaceWide] == "true":
		return sealer.NamespaceWide
	default:
		return sealer.Strict
	}
}

// WithScope returns annotations that say scope; nil if there are none.
func WithScope(annotations map[string]string, scope sealer.Scope) map[string]string {
	out := map[string]string{}
	maps.Copy(out, annotations)
	delete(out, bitnamiv1alpha1.AnnotationNamespaceWide)
	delete(out, bitnamiv1alpha1.AnnotationClusterWide)
	switch scope {
	case sealer.Strict: // says itself by saying nothing
	case sealer.NamespaceWide:
		out[bitnamiv1alpha1.AnnotationNamespaceWide] = "true"
	case sealer.ClusterWide:
		out[bitnamiv1alpha1.AnnotationClusterWide] = "true"
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
