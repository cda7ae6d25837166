package reseal

import (
	"context"
	"fmt"
	"slices"
	"strings"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"

	lockstepv1alpha1 "github.com/lockstep-dev/lockstep/apis/lockstep/v1alpha1"
	"github.com/lockstep-dev/lockstep/reconciler"
	"github.com/lockstep-dev/lockstep/reconciler/reseal/rewrite"
	"github.com/lockstep-dev/lockstep/reconciler/source"
	"github.com/lockstep-dev/lockstep/sealer"
)

// reasonNotLookedAt is that of the Event about what could not be looked at
// before keys were retired.
const reasonNotLookedAt = "NotLookedAt"

// elsewhere waits until no GitRepository of the cluster holds a value that one
// of the unneeded keys sealed: those without a Reseal, and the paths that
// theirs leaves out. It returns what could not be looked at.
func (c *Controller) elsewhere(ctx context.Context, r *lockstepv1alpha1.Reseal) (blind []string, err error) {
	behind, blind, err := c.look(ctx, r.Status.Unneeded)
	if err != nil {
		return nil, err
	}
	if len(behind) > 0 {
		return nil, reconciler.Progressing(reasonSyncing, again, fmt.Errorf("older keys are retired when nothing in these needs them: %s; seal it again with lockstep reseal, or make a Reseal for it", some(behind)))
	}
	return blind, nil
}

// look looks into all GitRepositories of the cluster for values that one of the
// wanted keys sealed: behind are those, and what is yet to be fetched; blind is
// what cannot be looked at.
//
// Values that are in the cluster are not opened: whoever asks knows already that
// none of them needs these keys.
func (c *Controller) look(ctx context.Context, wanted []string) (behind, blind []string, err error) {
	var all sourcev1.GitRepositoryList
	if err := c.Client.List(ctx, &all); err != nil {
		return nil, nil, fmt.Errorf("list GitRepositories: %w", err)
	}
	known, err := c.known(ctx)
	if err != nil {
		return nil, nil, err
	}
	look := &looker{ring: c.Ring, known: known, wanted: wanted}
	for i := range all.Items {
		g := &all.Items[i]
		name := "GitRepository " + g.Namespace + "/" + g.Name
		snapshot, ok := c.Sources.Get(sourcev1.GitRepositoryKind, g.Namespace, g.Name)
		switch {
		case !ok && g.Status.Artifact != nil:
			behind = append(behind, name+" (not fetched again yet)")
		case !ok:
			blind = append(blind, name+" (nothing was ever fetched)")
		default:
			users, unknown, err := look.tree(ctx, snapshot.Tree)
			if err != nil {
				return nil, nil, err
			}
			behind, blind = prefixed(behind, name, users), prefixed(blind, name, unknown)
		}
	}
	return behind, blind, nil
}

func prefixed(to []string, name string, files []string) []string {
	for _, file := range files {
		to = append(to, name+": "+file)
	}
	return to
}

// tellBlind says which sources keys were retired without a look at: what cannot
// be read may be a mistake or a template, and does not hold up the rest.
func (c *Controller) tellBlind(r *lockstepv1alpha1.Reseal, blind []string) {
	if len(blind) > 0 {
		c.Recorder.Eventf(r, corev1.EventTypeWarning, reasonNotLookedAt, "older keys were retired without a look at %s", some(blind))
	}
}

// looker finds the values that need one of the wanted keys. It implements
// Opener, and seals nothing.
type looker struct {
	ring   *sealer.Keyring
	known  map[string]sealer.Binding // the values that are in the cluster
	wanted []string                  // fingerprints
}

// tree returns the files of a tree that hold a value of one of the wanted keys,
// and those that may.
func (l *looker) tree(ctx context.Context, tree *source.Tree) (users, unknown []string, err error) {
	plan, err := Scan(ctx, tree, ".")
	if err != nil {
		return nil, nil, err
	}
	for _, s := range plan.Skipped {
		unknown = append(unknown, fmt.Sprintf("%s (%v)", s.Path, s.Err))
	}
	steps, err := plan.Seal(ctx, l, ByManifest{Known: l.known}, func() {})
	if err != nil {
		return nil, nil, err
	}
	for _, s := range steps {
		switch at := fmt.Sprintf("%s, SealedSecret %s, item %q", s.File.Path, s.At.Name, s.Item.Name); {
		case s.Err != nil:
			unknown = append(unknown, at)
		case slices.Contains(l.wanted, s.From):
			users = append(users, fmt.Sprintf("%s, of key %.12s", at, s.From))
		}
	}
	return users, unknown, nil
}

// Reseal implements Opener.
func (l *looker) Reseal(_ context.Context, at sealer.Binding, items []*rewrite.Item) []Result {
	results := make([]Result, len(items))
	for i, item := range items {
		value := strings.TrimSpace(item.Value)
		if _, ok := l.known[value]; ok {
			continue
		}
		opened, err := l.ring.OpenItemToReseal(value, sealer.Place{Binding: at, Item: item.Name}, "")
		clear(opened.Value)
		results[i] = Result{From: opened.Fingerprint, Err: err}
	}
	return results
}

// some lists the first few of many.
func some(all []string) string {
	const most = 5
	if len(all) <= most {
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:most], ", "), len(all)-most)
}
