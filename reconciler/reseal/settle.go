package reseal

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	lockstepv1alpha1 "github.com/lockstep-dev/lockstep/apis/lockstep/v1alpha1"
	"github.com/lockstep-dev/lockstep/reconciler"
	"github.com/lockstep-dev/lockstep/reconciler/keys"
	"github.com/lockstep-dev/lockstep/reconciler/reseal/rewrite"
	"github.com/lockstep-dev/lockstep/sealer"
)

// settle finds the older keys that nothing in the cluster needs, now that
// nothing at the branch does, and retires them if it is told to.
func (c *Controller) settle(ctx context.Context, r *lockstepv1alpha1.Reseal) error {
	var all bitnamiv1alpha1.SealedSecretList
	if err := c.Client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list SealedSecrets: %w", err)
	}
	users := Users(c.Ring, all.Items)
	newest, _ := c.Ring.Newest()
	var waiting, unneeded []string
	for _, k := range c.Ring.Keys() {
		switch who := users[k.Fingerprint]; {
		case k.Fingerprint == newest.Fingerprint:
		case len(who) > 0:
			waiting = append(waiting, who...)
		case !k.Retired:
			unneeded = append(unneeded, k.Fingerprint)
		}
	}
	slices.Sort(unneeded)
	r.Status.Unneeded = unneeded
	if r.Spec.Retire {
		if err := c.retire(ctx, r); err != nil {
			return err
		}
	}
	if len(waiting) > 0 && r.Status.Commit != nil {
		return reconciler.Progressing(reasonSyncing, again, fmt.Errorf("the branch is sealed again; %d SealedSecrets in the cluster are not yet, the first is %s", len(waiting), waiting[0]))
	}
	return nil
}

// Users returns, by fingerprint, the SealedSecrets that need each key. Where the
// status does not say, for it is of another generation, the values are opened:
// it is proven that nothing else needs a key.
func Users(ring *sealer.Keyring, all []bitnamiv1alpha1.SealedSecret) map[string][]string {
	users := map[string][]string{}
	for i := range all {
		ss := &all[i]
		for _, key := range usesOf(ring, ss) {
			users[key] = append(users[key], ss.Namespace+"/"+ss.Name)
		}
	}
	return users
}

func usesOf(ring *sealer.Keyring, ss *bitnamiv1alpha1.SealedSecret) []string {
	found := map[string]bool{}
	if t := ss.Status.Target; t != nil && t.Generation == ss.Generation && t.Scope == bindingOf(ss).Scope.String() {
		for _, u := range ss.Uses() {
			found[u.Key] = true
		}
		return slices.Sorted(maps.Keys(found))
	}
	var items []*rewrite.Item
	for name, value := range ss.Spec.EncryptedData {
		items = append(items, &rewrite.Item{Name: name, Value: value})
	}
	for _, result := range (&Keys{Ring: ring}).Reseal(context.Background(), bindingOf(ss), items) { //nolint:forbidigo // nothing in it waits
		if result.From != "" {
			found[result.From] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// retire relabels the Secrets of the keys that nothing needs.
func (c *Controller) retire(ctx context.Context, r *lockstepv1alpha1.Reseal) error {
	if len(r.Status.Unneeded) == 0 {
		return nil
	}
	if err := c.others(ctx, r); err != nil {
		return err
	}
	blind, err := c.elsewhere(ctx, r)
	if err != nil {
		return err
	}
	var secrets corev1.SecretList
	if err := c.Secrets.List(ctx, &secrets, client.InNamespace(c.Namespace), client.MatchingLabelsSelector{Selector: keys.Selector()}); err != nil {
		return fmt.Errorf("list key Secrets: %w", err)
	}
	for i := range secrets.Items {
		secret := &secrets.Items[i]
		key, err := keys.Parse(secret)
		if err != nil || key.Retired || !slices.Contains(r.Status.Unneeded, key.Fingerprint) {
			continue
		}
		if err := c.Client.Patch(ctx, secret, keys.Retire(secret)); err != nil {
			return fmt.Errorf("retire key Secret %s/%s: %w", secret.Namespace, secret.Name, err)
		}
		r.Status.Retired = append(r.Status.Retired, key.Fingerprint)
	}
	r.Status.Unneeded = nil
	c.tellBlind(r, blind)
	return nil
}

// others waits for the other Reseals: what their repositories hold, and is not
// in the cluster, may need the key.
func (c *Controller) others(ctx context.Context, r *lockstepv1alpha1.Reseal) error {
	var all lockstepv1alpha1.ResealList
	if err := c.Client.List(ctx, &all); err != nil {
		return fmt.Errorf("list Reseals: %w", err)
	}
	var behind []string
	for i := range all.Items {
		o := &all.Items[i]
		if o.UID == r.UID || o.Status.Key == r.Status.Key && len(o.Status.Needed) == 0 && len(o.Status.Unknown) == 0 {
			continue
		}
		behind = append(behind, o.Namespace+"/"+o.Name)
	}
	if len(behind) > 0 {
		return reconciler.Progressing(reasonSyncing, again, fmt.Errorf("older keys are retired when these Reseals are done too: %s", strings.Join(behind, ", ")))
	}
	return nil
}
