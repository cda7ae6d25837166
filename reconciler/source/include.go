package source

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/reconciler"
)

// reasonInclude is the reason when a repository that spec.include names has
// nothing to include.
const reasonInclude = "IncludeUnavailable"

// merged is a tree with those of other repositories in it, and what it was made
// of.
type merged struct {
	base   *Tree
	parts  []*Tree
	spec   []sourcev1.GitRepositoryInclude
	result *Tree
}

// include puts the trees of the repositories that spec.include names into that
// of r. A conflict is refused: nothing is overwritten.
func (c *Controller) include(ctx context.Context, r *sourcev1.GitRepository, s Snapshot) (Snapshot, error) {
	before := r.Status.IncludedArtifacts
	r.Status.IncludedArtifacts, r.Status.ObservedInclude = nil, r.Spec.Include
	if len(r.Spec.Include) == 0 {
		return s, nil
	}
	m := merged{base: s.Tree, spec: r.Spec.Include}
	for i, inc := range r.Spec.Include {
		name := inc.GitRepositoryRef.Name
		if err := c.acyclic(ctx, r, name, nil); err != nil {
			return s, reconciler.Final(reasonInclude, fmt.Errorf("spec.include[%d]: %w", i, err))
		}
		part, ok := c.Store.Get(sourcev1.GitRepositoryKind, r.Namespace, name)
		if !ok {
			return s, reconciler.Wait(reasonInclude, 0, fmt.Errorf("spec.include[%d]: GitRepository %s/%s has nothing to include yet: see that it exists and is Ready", i, r.Namespace, name))
		}
		m.parts = append(m.parts, part.Tree)
		r.Status.IncludedArtifacts = append(r.Status.IncludedArtifacts, describe(sourcev1.GitRepositoryKind, client.ObjectKey{Namespace: r.Namespace, Name: name}, part, before))
	}
	state := c.states.of(r)
	if was := state.merged; was != nil && was.base == m.base && slices.Equal(was.parts, m.parts) && slices.Equal(was.spec, m.spec) {
		return Snapshot{Revision: s.Revision, Tree: was.result}, nil
	}
	if err := m.merge(); err != nil {
		return s, reconciler.Wait(sourcev1.InvalidPathReason, 0, err)
	}
	state.merged = &m
	return Snapshot{Revision: s.Revision, Tree: m.result}, nil
}

// acyclic returns an error if the repository of a name includes r, itself or
// by others: each would grow by the other without end.
func (c *Controller) acyclic(ctx context.Context, r *sourcev1.GitRepository, name string, by []string) error {
	by = append(by, name)
	if name == r.Name {
		return fmt.Errorf("a repository cannot include itself, as this does by way of %s", strings.Join(by, ", "))
	}
	if slices.Contains(by[:len(by)-1], name) {
		return nil // a circle that r is not part of is told at those that are
	}
	other := &sourcev1.GitRepository{}
	err := c.Client.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: name}, other)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read GitRepository %s/%s: %w", r.Namespace, name, err)
	}
	for _, inc := range other.Spec.Include {
		if err := c.acyclic(ctx, r, inc.GitRepositoryRef.Name, by); err != nil {
			return err
		}
	}
	return nil
}

// merge makes the result.
func (m *merged) merge() error {
	all := newCollector(m.base)
	for name, f := range m.base.files {
		if err := all.share(name, f); err != nil {
			return err
		}
	}
	for i, part := range m.parts {
		from := strings.TrimPrefix(path.Clean("/"+m.spec[i].GetFromPath()), "/")
		to := strings.TrimPrefix(path.Clean("/"+m.spec[i].GetToPath()), "/")
		n := 0
		for name, f := range part.files {
			rest, ok := within(name, from)
			if !ok {
				continue
			}
			n++
			if err := all.share(path.Join(to, rest), f); err != nil {
				return fmt.Errorf("spec.include[%d]: %w", i, err)
			}
		}
		if n == 0 {
			return fmt.Errorf("spec.include[%d].fromPath: GitRepository %s has no file in %q", i, m.spec[i].GitRepositoryRef.Name, from)
		}
	}
	var err error
	m.result, err = all.tree()
	return err
}

// within returns what is left of a path behind a folder that it is in.
func within(name, folder string) (rest string, ok bool) {
	if folder == "" {
		return name, true
	}
	return strings.CutPrefix(name, folder+"/")
}

// share adds a file of another tree.
func (b *collector) share(name string, f *file) error {
	if there, ok := b.files[name]; ok && there.hash != f.hash {
		return fmt.Errorf("%s is there already, with another content: %w", name, fs.ErrExist)
	}
	b.known[f.hash] = f.data
	return b.add(name, f.mode, f.hash, int64(len(f.data)), nil)
}
