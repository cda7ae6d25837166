package keys

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
)

// states are the values of the label that make a Secret a sealing key.
var states = []string{bitnamiv1alpha1.LabelSealingKeyActive, bitnamiv1alpha1.LabelSealingKeyCompromised, bitnamiv1alpha1.LabelSealingKeyRetired}

// Selector selects the key Secrets that have the label, in every state.
func Selector() labels.Selector {
	requirement, err := labels.NewRequirement(bitnamiv1alpha1.LabelSealingKey, selection.In, states)
	if err != nil {
		panic(err) // a mistake in the constants above
	}
	return labels.NewSelector().Add(*requirement)
}

// Retired says whether a key Secret is one that opens only to re-seal: by the
// label retired, or by compromised, which people set by the documentation of
// Sealed Secrets.
func Retired(secret *corev1.Secret) bool {
	switch secret.Labels[bitnamiv1alpha1.LabelSealingKey] {
	case bitnamiv1alpha1.LabelSealingKeyRetired, bitnamiv1alpha1.LabelSealingKeyCompromised:
		return true
	default:
		return false
	}
}

// Order says which of the active keys is the newest.
type Order string

// The orders, as Sealed Secrets names them.
const (
	ByCertificate Order = "CertNotBefore"           // by the time from which the certificate is valid
	ByCreation    Order = "SecretCreationTimestamp" // by the time at which the Secret was made
)

// ParseOrder returns the Order that text names; empty is ByCertificate.
func ParseOrder(text string) (Order, error) {
	switch o := Order(text); o {
	case "":
		return ByCertificate, nil
	case ByCertificate, ByCreation:
		return o, nil
	default:
		return "", fmt.Errorf("key order priority %q: use %s or %s", text, ByCertificate, ByCreation)
	}
}

// ParsePairs returns the pairs in a text such as "a=1,b=2": labels or
// annotations. An empty text has none.
func ParsePairs(text string) (map[string]string, error) {
	pairs := map[string]string{}
	for pair := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, fmt.Errorf("%q: want NAME=VALUE pairs with commas between them", pair)
		}
		pairs[name] = strings.TrimSpace(value)
	}
	return pairs, nil
}

// Retire returns the patch that retires the key of a Secret, unless someone
// changed the Secret meanwhile.
func Retire(secret *corev1.Secret) client.Patch {
	before := secret.DeepCopy()
	metav1.SetMetaDataLabel(&secret.ObjectMeta, bitnamiv1alpha1.LabelSealingKey, bitnamiv1alpha1.LabelSealingKeyRetired)
	return client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
}
