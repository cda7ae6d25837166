package keys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	lockstepv1alpha1 "github.com/lockstep-dev/lockstep/apis/lockstep/v1alpha1"
	"github.com/lockstep-dev/lockstep/cmd/internal/cluster"
	"github.com/lockstep-dev/lockstep/reconciler/keys"
	"github.com/lockstep-dev/lockstep/reconciler/reseal"
	"github.com/lockstep-dev/lockstep/sealer"
)

type retiring struct {
	settings
	trees []string // working trees that must not need the key either
	leave bool     // what the GitRepositories hold of the key
}

func retireCmd() *cobra.Command {
	r := &retiring{}
	cmd := &cobra.Command{
		Use:     "retire KEY...",
		Short:   "Let a sealing key open only to re-seal; refuses while anything needs it",
		Long:    "A KEY is the name of its Secret, or the first digits of its fingerprint, as keys list shows them.",
		Example: "  lockstep keys retire 3fa1b2c4d5e6 --path ~/fleet",
		Args:    cluster.Args(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.run(cmd.Context(), cmd.OutOrStdout(), args)
		},
	}
	r.bind(cmd)
	cmd.Flags().StringArrayVar(&r.trees, "path", nil, "a working tree of a repository that must not need the key either; may be given several times")
	cmd.Flags().BoolVar(&r.leave, "leave-values-in-git", false, "retire even if a GitRepository holds values that only this key opens, or if the controller does not say: they become Secrets no more until they are sealed again")
	return cmd
}

func (r *retiring) run(ctx context.Context, out io.Writer, names []string) error {
	kube, err := r.connect()
	if err != nil {
		return err
	}
	secrets, err := r.secrets(ctx, kube)
	if err != nil {
		return err
	}
	pairs, ring, err := parse(secrets)
	if err != nil {
		return err
	}
	chosen, err := choose(pairs, names)
	if err != nil {
		return err
	}
	needs, err := r.needs(ctx, kube, ring)
	if err != nil {
		return err
	}
	newest, _ := ring.Newest()
	var refused []error
	for _, p := range chosen {
		switch who := needs[p.Fingerprint]; {
		case p.Retired:
			fmt.Fprintf(out, "%s is retired already.\n", short(p.Fingerprint))
		case p.Fingerprint == newest.Fingerprint:
			refused = append(refused, fmt.Errorf("%s is the newest key, which seals: make another first, with lockstep keys rotate", short(p.Fingerprint)))
		case len(who) > 0:
			refused = append(refused, fmt.Errorf("%s is needed by %s: seal that again first, with lockstep reseal", short(p.Fingerprint), some(who)))
		}
	}
	if len(refused) > 0 {
		return errors.Join(refused...)
	}
	if err := r.inGit(ctx, out, kube, chosen); err != nil {
		return err
	}
	for _, p := range chosen {
		if p.Retired {
			continue
		}
		if err := kube.Patch(ctx, p.secret, keys.Retire(p.secret)); err != nil {
			return fmt.Errorf("retire key Secret %s: %w", p.secret.Name, err)
		}
		fmt.Fprintf(out, "Retired %s. It opens only to re-seal now; to take it back, set the label %s of the Secret %s to %s.\n",
			short(p.Fingerprint), bitnamiv1alpha1.LabelSealingKey, p.secret.Name, bitnamiv1alpha1.LabelSealingKeyActive)
	}
	return nil
}

// choose finds the keys that names name.
func choose(pairs []pair, names []string) ([]pair, error) {
	const least = 8 // digits, so that a slip names no other key
	var chosen []pair
	for _, name := range names {
		var found []pair
		for _, p := range pairs {
			if p.secret.Name == name || len(name) >= least && strings.HasPrefix(p.Fingerprint, name) {
				found = append(found, p)
			}
		}
		if len(found) != 1 {
			return nil, fmt.Errorf("%d keys are named %q: give the name of a Secret, or at least %d digits of a fingerprint, of lockstep keys list", len(found), name, least)
		}
		chosen = append(chosen, found[0])
	}
	return chosen, nil
}

// needs returns, by fingerprint, all that needs a key: SealedSecrets in the
// cluster, repositories that a Reseal looks after, and working trees.
func (r *retiring) needs(ctx context.Context, kube client.Client, ring *sealer.Keyring) (map[string][]string, error) {
	objects, err := sealedSecrets(ctx, kube)
	if err != nil {
		return nil, err
	}
	needs := map[string][]string{}
	for key, who := range reseal.Users(ring, objects) {
		for _, name := range who {
			needs[key] = append(needs[key], "SealedSecret "+name)
		}
	}
	if err := watched(ctx, kube, ring, needs); err != nil {
		return nil, err
	}
	for _, tree := range r.trees {
		if err := inTree(ctx, tree, ring, reseal.Known(objects), needs); err != nil {
			return nil, err
		}
	}
	return needs, nil
}

// watched adds what the Reseals know of their repositories. One that has not
// looked since there is a new key may need any.
func watched(ctx context.Context, kube client.Client, ring *sealer.Keyring, needs map[string][]string) error {
	var all lockstepv1alpha1.ResealList
	if err := kube.List(ctx, &all); err != nil && !apimeta.IsNoMatchError(err) {
		return fmt.Errorf("list Reseals: %w", err)
	}
	newest, _ := ring.Newest()
	for i := range all.Items {
		r := &all.Items[i]
		name := "Reseal " + r.Namespace + "/" + r.Name
		for _, n := range r.Status.Needed {
			needs[n.Key] = append(needs[n.Key], fmt.Sprintf("%s (%d values in its repository)", name, n.Items))
		}
		if r.Status.Key == newest.Fingerprint && len(r.Status.Unknown) == 0 {
			continue
		}
		for _, k := range ring.Keys() {
			needs[k.Fingerprint] = append(needs[k.Fingerprint], name+" (not all of its repository could be looked at)")
		}
	}
	return nil
}

// inTree adds what a working tree needs.
func inTree(ctx context.Context, tree string, ring *sealer.Keyring, known map[string]sealer.Binding, needs map[string][]string) error {
	work, err := scan(ctx, []string{tree}, nil)
	if err != nil {
		return err
	}
	for _, s := range work.skipped() {
		return fmt.Errorf("%s: %w: it may need any key", s.Path, s.Err)
	}
	steps, err := work.seal(ctx, &reseal.Keys{Ring: ring}, reseal.ByManifest{Known: known}, func() {})
	if err != nil {
		return err
	}
	for _, s := range steps {
		if s.Err != nil && s.From == "" {
			return fmt.Errorf("%s, item %q: %w: it may need any key", s.File.Path, s.Item.Name, s.Err)
		}
		if needed := s.File.Path; !slices.Contains(needs[s.From], needed) {
			needs[s.From] = append(needs[s.From], needed)
		}
	}
	return nil
}

// some lists the first few of many.
func some(all []string) string {
	const most = 5
	if len(all) <= most {
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:most], ", "), len(all)-most)
}
