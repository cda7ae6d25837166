package kustomization

import (
	"context"
	"fmt"

	"github.com/fluxcd/pkg/apis/meta"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/lockstep-dev/lockstep/reconciler/apply"
	"github.com/lockstep-dev/lockstep/reconciler/decrypt"
)

// +kubebuilder:rbac:groups="",resources=serviceaccounts/token,verbs=create

// tokenSeconds is how long a token of a ServiceAccount lives: it is used at
// once. It is the least that every API server gives.
const tokenSeconds = 600

// opener returns what opens the files of this run, or nil without
// spec.decryption. The keys are read as the account that applies.
func (r *run) opener(ctx context.Context) (*decrypt.Opener, error) {
	d := r.ks.Spec.Decryption
	if d == nil {
		return nil, nil //nolint:nilnil // nothing is asked for
	}
	keys := &decrypt.Keys{}
	if ref := d.SecretRef; ref != nil {
		reader, err := r.Clients.For(r.local(r.ks))
		if err != nil {
			return nil, retry(r.ks, meta.BuildFailedReason, err)
		}
		data, err := reader.Data(ctx, "Secret", r.ks.Namespace, ref.Name)
		if err != nil {
			return nil, retry(r.ks, meta.BuildFailedReason, fmt.Errorf("spec.decryption.secretRef: read Secret %s/%s: %w", r.ks.Namespace, ref.Name, err))
		}
		if keys, err = decrypt.ParseKeys(data); err != nil {
			return nil, retry(r.ks, meta.BuildFailedReason, fmt.Errorf("spec.decryption.secretRef: Secret %s/%s: %w", r.ks.Namespace, ref.Name, err))
		}
	}
	if d.ServiceAccountName != "" {
		identity, err := r.identity(ctx, r.ks.Namespace, d.ServiceAccountName)
		if err != nil {
			return nil, retry(r.ks, meta.BuildFailedReason, fmt.Errorf("spec.decryption.serviceAccountName: %w", err))
		}
		keys.Identity = identity
	}
	o := decrypt.New(ctx, keys, &r.Decryption)
	o.SkipMAC = r.Decryption.IgnoresMAC(r.ks.Namespace, r.ks.Name)
	return o, nil
}

// identity is a ServiceAccount of the Kustomization's own namespace, for a cloud
// that trusts it.
func (c *Controller) identity(ctx context.Context, namespace, name string) (*decrypt.Identity, error) {
	self, err := c.Clients.For(apply.Account{})
	if err != nil {
		return nil, err
	}
	annotations, err := self.ServiceAccount(ctx, namespace, name)
	if err != nil {
		return nil, fmt.Errorf("read ServiceAccount %s/%s: %w", namespace, name, err)
	}
	return &decrypt.Identity{
		Name:        namespace + "/" + name,
		Annotations: annotations,
		Token: func(ctx context.Context, audience string) (string, error) {
			token, _, err := self.Token(ctx, namespace, name, []string{audience}, tokenSeconds)
			if err != nil {
				return "", fmt.Errorf("make a token of ServiceAccount %s/%s: %w", namespace, name, err)
			}
			return token, nil
		},
	}, nil
}

// keysInput is the Secret that the keys are in, by its metadata.
func (r *run) keysInput(ctx context.Context) (inputs, error) {
	d := r.ks.Spec.Decryption
	if d == nil || d.SecretRef == nil {
		return nil, nil
	}
	version, err := r.version(ctx, "Secret", d.SecretRef.Name)
	if apierrors.IsNotFound(err) {
		return nil, retry(r.ks, meta.BuildFailedReason, fmt.Errorf("spec.decryption.secretRef: Secret %s/%s does not exist: create it", r.ks.Namespace, d.SecretRef.Name))
	}
	if err != nil {
		return nil, fmt.Errorf("look up Secret %s/%s: %w", r.ks.Namespace, d.SecretRef.Name, err)
	}
	return inputs{{keys: true, version: version}}, nil
}
