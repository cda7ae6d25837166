package stores

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// ErrNotAdmitted says that the conditions of a ClusterSecretStore do not let a
// namespace use it.
var ErrNotAdmitted = errors.New("namespace is not admitted")

// admits returns ErrNotAdmitted unless the conditions admit the namespace: any
// field of any of them. No conditions admit all. namespaceLabels is asked for
// only if a condition needs them.
func admits(conditions []esv1.StoreCondition, namespace string, namespaceLabels func() (map[string]string, error)) error {
	if len(conditions) == 0 {
		return nil
	}
	for i := range conditions {
		ok, err := conditionAdmits(fmt.Sprintf("spec.conditions[%d]", i), &conditions[i], namespace, namespaceLabels)
		if err != nil || ok {
			return err
		}
	}
	return fmt.Errorf("%w: %q fits none of spec.conditions of the store: add it there, or use another store", ErrNotAdmitted, namespace)
}

func conditionAdmits(field string, c *esv1.StoreCondition, namespace string, namespaceLabels func() (map[string]string, error)) (bool, error) {
	if slices.Contains(c.Namespaces, namespace) {
		return true, nil
	}
	for i, expression := range c.NamespaceRegexes {
		// Anchored, so that team-a does not admit evil-team-a.
		re, err := regexp.Compile("^(?:" + expression + ")$")
		if err != nil {
			return false, fmt.Errorf("%s.namespaceRegexes[%d]: %w: not a regular expression: correct it", field, i, providers.ErrInvalid)
		}
		if re.MatchString(namespace) {
			return true, nil
		}
	}
	if c.NamespaceSelector == nil {
		return false, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(c.NamespaceSelector)
	if err != nil {
		return false, fmt.Errorf("%s.namespaceSelector: %w: %w", field, providers.ErrInvalid, err)
	}
	set, err := namespaceLabels()
	if err != nil {
		return false, err
	}
	return selector.Matches(labels.Set(set)), nil
}

// namespaceLabels reads the labels of a namespace from the cache of metadata.
func (s *Stores) namespaceLabels(ctx context.Context, name string) func() (map[string]string, error) {
	return func() (map[string]string, error) {
		namespace := metadata(corev1.SchemeGroupVersion.WithKind("Namespace"))
		if err := s.Metadata.Get(ctx, client.ObjectKey{Name: name}, namespace); err != nil {
			return nil, fmt.Errorf("read namespace %s: %w", name, err)
		}
		return namespace.Labels, nil
	}
}
