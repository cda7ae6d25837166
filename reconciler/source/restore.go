package source

import (
	"context"
	"errors"
	"fmt"
	"strings"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
)

// restore has again what a suspended repository held before a restart: the
// commit that its status names, and no newer one, so that what is applied from
// it goes on being kept as it is.
func (c *Controller) restore(ctx context.Context, r *sourcev1.GitRepository) error {
	held := r.Status.Artifact
	if held == nil {
		return nil // it never had anything
	}
	if _, ok := c.Store.Get(sourcev1.GitRepositoryKind, r.Namespace, r.Name); ok {
		return nil
	}
	if err := supported(r); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout(r))
	defer cancel()
	r = r.DeepCopy()
	f, err := c.fetching(ctx, r)
	if err != nil {
		return err
	}
	if err := pin(r, held.Revision); err != nil {
		return err
	}
	snapshot, err := c.states.of(r).refresh(ctx, f)
	if err != nil {
		return classify(r, err, f)
	}
	is := hashOf(snapshot.Revision)
	if was := hashOf(held.Revision); is != was {
		return fmt.Errorf("the tag is at %s now, and was at %s when the repository was suspended: resume it", is, was)
	}
	snapshot.Revision = held.Revision
	if snapshot, err = c.include(ctx, r, snapshot); err != nil {
		return err
	}
	c.keep(r, snapshot)
	return nil
}

// pin makes spec.ref that of a revision. A tag whose signature is wanted stays
// what it is: its commit alone does not have it.
func pin(r *sourcev1.GitRepository, revision string) error {
	hash := hashOf(revision)
	if !commitHash.MatchString(hash) {
		return errors.New("status.artifact.revision names no commit: resume the repository")
	}
	if v := r.Spec.Verification; v != nil && v.Mode != sourcev1.ModeGitHEAD && v.Mode != "" {
		return nil
	}
	ref := &sourcev1.GitRepositoryRef{Commit: hash}
	if r.Spec.Reference != nil {
		ref.Branch = r.Spec.Reference.Branch
	}
	r.Spec.Reference = ref
	return nil
}

// hashOf returns the commit of what Flux spells as NAME@sha1:HASH or sha1:HASH.
func hashOf(revision string) string {
	if i := strings.LastIndex(revision, "@"); i >= 0 {
		revision = revision[i+1:]
	}
	_, hash, _ := strings.Cut(revision, ":")
	return hash
}
