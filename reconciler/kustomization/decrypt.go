package kustomization

import (
	"context"
	"fmt"

	"github.com/fluxcd/pkg/apis/meta"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

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
	if err := r.ageForAll(ctx, keys); err != nil {
		return nil, retry(r.ks, meta.BuildFailedReason, err)
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

// ageForAll adds the age keys that the platform owner gives to every
// Kustomization, read as the controller.
func (r *run) ageForAll(ctx context.Context, keys *decrypt.Keys) error {
	from := r.AgeSecret
	if from.Name == "" {
		return nil
	}
	self, err := r.Clients.For(apply.Account{})
	if err != nil {
		return err
	}
	data, err := self.Data(ctx, "Secret", from.Namespace, from.Name)
	if err == nil {
		err = keys.AddAge(data)
	}
	if err != nil {
		return fmt.Errorf("--sops-age-secret: Secret %s: %w", from, err)
	}
	return nil
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

// keysInput are the Secrets that the keys are in, by their metadata.
func (r *run) keysInput(ctx context.Context) (in inputs, err error) {
	d := r.ks.Spec.Decryption
	if d == nil {
		return nil, nil
	}
	if from := r.AgeSecret; from.Name != "" {
		version, err := r.version(ctx, "Secret", from)
		if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("look up Secret %s: %w", from, err)
		}
		in = append(in, input{keys: true, version: version}) // one that is missing is told when it is read
	}
	if d.SecretRef == nil {
		return in, nil
	}
	version, err := r.version(ctx, "Secret", r.beside(d.SecretRef.Name))
	if apierrors.IsNotFound(err) {
		return nil, retry(r.ks, meta.BuildFailedReason, fmt.Errorf("spec.decryption.secretRef: Secret %s/%s does not exist: create it", r.ks.Namespace, d.SecretRef.Name))
	}
	if err != nil {
		return nil, fmt.Errorf("look up Secret %s/%s: %w", r.ks.Namespace, d.SecretRef.Name, err)
	}
	return append(in, input{keys: true, version: version}), nil
}
