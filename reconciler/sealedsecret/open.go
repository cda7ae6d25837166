package sealedsecret

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/sealer"
)

// open returns the Secret that ss stands for, and the fingerprint of the key
// that opened it. It is all or nothing, and an error names every item that
// failed, and none of the values.
func (c *Controller) open(ctx context.Context, ss *bitnamiv1alpha1.SealedSecret) (*corev1.Secret, string, error) {
	if err := supported(ss); err != nil {
		return nil, "", err
	}
	data, key, err := c.openItems(ss)
	if err != nil {
		return nil, "", err
	}
	rendered, err := render(ctx, ss.Spec.Template.Data, data)
	if err != nil {
		return nil, "", err
	}
	for item, value := range rendered {
		// What is sealed wins over what is rendered, as in Sealed Secrets since v0.37.
		if _, ok := data[item]; !ok {
			data[item] = value
		}
	}
	template := ss.Spec.Template
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:   ss.Namespace,
			Name:        ss.Name,
			Labels:      maps.Clone(template.Labels),
			Annotations: maps.Clone(template.Annotations),
		},
		Type:      template.Type,
		Immutable: template.Immutable,
		Data:      data,
	}
	if template.Annotations[bitnamiv1alpha1.AnnotationSkipSetOwnerReferences] != "true" {
		secret.OwnerReferences = []metav1.OwnerReference{owner(ss)}
	}
	return secret, key, nil
}

// owner is the reference that Sealed Secrets sets.
func owner(ss *bitnamiv1alpha1.SealedSecret) metav1.OwnerReference {
	controller := true
	return metav1.OwnerReference{
		APIVersion: bitnamiv1alpha1.GroupVersion.String(),
		Kind:       bitnamiv1alpha1.SealedSecretKind,
		Name:       ss.Name,
		UID:        ss.UID,
		Controller: &controller,
	}
}

// supported refuses by name what is not served.
func supported(ss *bitnamiv1alpha1.SealedSecret) error {
	if len(ss.Spec.Data) > 0 {
		return errors.New("spec.data is not supported: it is deprecated since Sealed Secrets v0.8; seal the Secret again with kubeseal, and use spec.encryptedData")
	}
	if ss.Spec.Template.Type == corev1.SecretTypeServiceAccountToken {
		return fmt.Errorf("spec.template.type %q is refused: it would let whoever writes a SealedSecret have a token of any ServiceAccount of the namespace", ss.Spec.Template.Type)
	}
	return nil
}

// openItems opens every item of spec.encryptedData.
func (c *Controller) openItems(ss *bitnamiv1alpha1.SealedSecret) (data map[string][]byte, key string, err error) {
	at := sealer.Binding{Namespace: ss.Namespace, Name: ss.Name, Scope: scopeOf(ss)}
	hint := ""
	if ss.Status.Target != nil {
		hint = ss.Status.Target.Key
	}
	data = map[string][]byte{}
	var failed failures
	for _, item := range slices.Sorted(maps.Keys(ss.Spec.EncryptedData)) {
		opened, err := c.openItem(ss.Spec.EncryptedData[item], at, hint)
		if err != nil {
			failed.add(item, err)
			continue
		}
		data[item] = opened.Value
		hint = opened.Fingerprint
		if key == "" {
			key = opened.Fingerprint
		}
	}
	return data, key, failed.err(at)
}

func (c *Controller) openItem(text string, at sealer.Binding, hint string) (sealer.Opened, error) {
	sealed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return sealer.Opened{}, fmt.Errorf("%w: %w", sealer.ErrFormat, err)
	}
	return c.Keys.Open(sealed, at, hint)
}

// failures are the items that could not be opened, by what is wrong with them.
type failures struct {
	causes []string // in the order of their first item
	items  map[string][]string
}

func (f *failures) add(item string, err error) {
	cause := err.Error()
	if rest, ok := strings.CutPrefix(cause, sealer.ErrNoKey.Error()+": "); ok && errors.Is(err, sealer.ErrNoKey) {
		cause = rest
	}
	if f.items == nil {
		f.items = map[string][]string{}
	}
	if _, ok := f.items[cause]; !ok {
		f.causes = append(f.causes, cause)
	}
	f.items[cause] = append(f.items[cause], item)
}

// err returns an error that names the items, the place that they were opened
// for, and what to do; nil if none failed.
func (f *failures) err(at sealer.Binding) error {
	if len(f.causes) == 0 {
		return nil
	}
	var parts []string
	for _, cause := range f.causes {
		parts = append(parts, fmt.Sprintf("no key could decrypt secret (%s): %s", strings.Join(f.items[cause], ", "), cause))
	}
	return fmt.Errorf("%s; it is opened for %v: seal it again with: kubeseal %s", strings.Join(parts, "; "), at, flags(at))
}

func flags(at sealer.Binding) string {
	switch at.Scope {
	case sealer.ClusterWide:
		return "--scope cluster-wide"
	case sealer.NamespaceWide:
		return fmt.Sprintf("--scope namespace-wide --namespace %s", at.Namespace)
	default:
		return fmt.Sprintf("--namespace %s --name %s", at.Namespace, at.Name)
	}
}
