package sealedsecret

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/sealer"
)

// content is what a SealedSecret opens to, before it has a name and an owner.
func (c *Controller) content(ctx context.Context, ss *bitnamiv1alpha1.SealedSecret) (*corev1.Secret, uses, error) {
	if len(ss.Spec.Data) > 0 {
		return c.whole(ss)
	}
	data, keys, err := c.openItems(ss)
	if err != nil {
		return nil, uses{}, err
	}
	data, err = Render(ctx, ss.Spec.Template.Data, data)
	if err != nil {
		return nil, uses{}, err
	}
	template := ss.Spec.Template
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Labels: maps.Clone(template.Labels), Annotations: maps.Clone(template.Annotations)},
		Type:       template.Type,
		Immutable:  template.Immutable,
		Data:       data,
	}, keys, nil
}

// whole opens spec.data: a whole Secret in JSON, sealed at once, as Sealed
// Secrets did before v0.8. Of its metadata only labels and annotations count.
func (c *Controller) whole(ss *bitnamiv1alpha1.SealedSecret) (*corev1.Secret, uses, error) {
	if !c.AcceptDeprecatedData {
		return nil, uses{}, errors.New("using deprecated 'data' field, use 'encryptedData' or flip the feature flag: --accept-deprecated-v1-data")
	}
	if len(ss.Spec.EncryptedData) > 0 {
		return nil, uses{}, errors.New("cannot use the field 'encryptedData' and the deprecated field 'data' at the same time")
	}
	at := sealer.Binding{Namespace: ss.Namespace, Name: ss.Name, Scope: scopeOf(ss)}
	hint := ""
	if ss.Status.Target != nil {
		hint = ss.Status.Target.Key
	}
	c.metrics.opened.WithLabelValues(envelope1).Inc()
	opened, err := c.Keys.Open(ss.Spec.Data, at, hint)
	if err != nil {
		return nil, uses{}, fmt.Errorf("no key could decrypt secret: spec.data: %w", err)
	}
	defer clear(opened.Value)
	sealed := &corev1.Secret{}
	if json.Unmarshal(opened.Value, sealed) != nil {
		return nil, uses{}, errors.New("spec.data: what was sealed is no Secret in JSON")
	}
	var keys uses
	keys.add(opened.Fingerprint)
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Labels: sealed.Labels, Annotations: sealed.Annotations},
		Type:       sealed.Type,
		Immutable:  sealed.Immutable,
		Data:       sealed.Data,
	}, keys, nil
}

// privileged are the types of Secrets that Kubernetes gives rights to.
var privileged = map[corev1.SecretType]string{
	corev1.SecretTypeServiceAccountToken: "it would let whoever writes a SealedSecret have a token of any ServiceAccount of the namespace",
	corev1.SecretTypeBootstrapToken:      "it would let whoever writes a SealedSecret add a node to the cluster",
}

// permitted refuses a Secret that would give its author rights that writing a
// SealedSecret does not: by its type, or as a sealing key.
func (c *Controller) permitted(secret *corev1.Secret) error {
	if c.AllowPrivileged {
		return nil
	}
	if why, ok := privileged[secret.Type]; ok {
		return fmt.Errorf("spec.template.type %q is refused: %s; the owner of the platform can allow it with --allow-privileged-secrets", secret.Type, why)
	}
	_, labelled := secret.Labels[bitnamiv1alpha1.LabelSealingKey]
	if secret.Namespace == c.Namespace && (labelled || secret.Name == c.KeyPrefix) {
		return errors.New("a sealing key is refused: it would open what is sealed in the whole cluster; the owner of the platform can allow it with --allow-privileged-secrets")
	}
	return nil
}
