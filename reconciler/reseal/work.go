package reseal

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/memory"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	lockstepv1alpha1 "github.com/lockstep-dev/lockstep/apis/lockstep/v1alpha1"
	"github.com/lockstep-dev/lockstep/reconciler"
	"github.com/lockstep-dev/lockstep/reconciler/reseal/forge"
	"github.com/lockstep-dev/lockstep/reconciler/source"
	"github.com/lockstep-dev/lockstep/sealer"
)

// work is one run for one Reseal.
type work struct {
	*Controller
	reseal     *lockstepv1alpha1.Reseal
	git        *sourcev1.GitRepository
	repository *source.Repository
	branch     string
	newest     sealer.Key
	recipients []sealer.Recipient
}

// races is how often a push that someone else was ahead of is made again at
// once; a branch that is pushed to more often is left for later.
const races = 5

// run looks at the branch, unless nothing has changed since the last look, and
// pushes what it lacks.
func (w *work) run(ctx context.Context) error {
	for range races {
		head, err := w.head(ctx, w.branch)
		if err != nil {
			return err
		}
		if w.reseal.Status.Looked == w.digest(head) && w.reseal.Status.LastHandledReconcileAt == w.reseal.Annotations[annotationRequested] {
			return nil
		}
		if err = w.look(ctx); !errors.Is(err, source.ErrRaced) {
			return err
		}
	}
	return reconciler.Temporary(reasonMerging, fmt.Errorf("branch %q: %w, %d times", w.branch, source.ErrRaced, races))
}

// digest names all that a look goes by.
func (w *work) digest(head plumbing.Hash) string {
	sum := sha256.New()
	fmt.Fprintln(sum, head, w.branch, w.reseal.Generation, w.newest.Fingerprint, w.git.Spec.URL)
	for _, k := range w.Ring.Keys() {
		fmt.Fprintln(sum, k.Fingerprint, k.Retired)
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// look fetches the branch, and pushes a commit if a value is on an older key.
func (w *work) look(ctx context.Context) error {
	objects, head, err := w.fetch(ctx, w.branch)
	if err != nil {
		return err
	}
	plan, steps, err := w.scan(ctx, objects, head)
	if err != nil {
		return err
	}
	w.record(head, plan, steps)
	files, err := changed(plan)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		w.looked(head)
		return nil
	}
	sign, err := w.signer(ctx)
	if err != nil {
		return err
	}
	c := change{base: head, files: files, sign: sign, author: w.author(), message: message(w.reseal.Spec.Commit.Subject, steps, w.newest.Fingerprint)}
	if w.reseal.Spec.PullRequest != nil {
		return w.propose(ctx, objects, c)
	}
	made, all, err := c.commit(objects)
	if err != nil {
		return err
	}
	if err := w.push(ctx, objects, w.branch, source.Move{Old: head, New: made, Objects: all}); err != nil {
		return err
	}
	w.reseal.Status.Commit = &lockstepv1alpha1.CommitStatus{SHA1: made.String(), Base: head.String(), Branch: w.branch, Key: w.newest.Fingerprint}
	for _, s := range steps { // they are on the newest key now
		if s.Next != "" {
			s.From, s.Next = w.newest.Fingerprint, ""
		}
	}
	w.record(made, plan, steps)
	w.looked(made)
	return w.poke(ctx)
}

func (w *work) push(ctx context.Context, objects *memory.Storage, branch string, move source.Move) error {
	err := w.repository.Push(ctx, objects, branch, move)
	if refused := (*source.RefusedError)(nil); errors.As(err, &refused) {
		return reconciler.Wait(reasonRefused, again, fmt.Errorf("branch %q: %w; if it is protected, use spec.pullRequest", branch, err))
	}
	return w.repository.Explain(err)
}

func (w *work) head(ctx context.Context, branch string) (plumbing.Hash, error) {
	head, err := w.repository.Head(ctx, branch)
	return head, w.repository.Explain(err)
}

func (w *work) fetch(ctx context.Context, branch string) (*memory.Storage, plumbing.Hash, error) {
	objects, head, err := w.repository.Fetch(ctx, branch)
	return objects, head, w.repository.Explain(err)
}

// scan looks at every value of a commit.
func (w *work) scan(ctx context.Context, objects *memory.Storage, commit plumbing.Hash) (*Plan, []*Step, error) {
	roots := w.reseal.Spec.Paths
	if len(roots) == 0 {
		roots = []string{"."}
	}
	for i, root := range roots {
		roots[i] = path.Clean(strings.TrimPrefix(root, "/"))
	}
	tree, err := source.Files(objects, commit, func(name string) bool {
		return isManifest(name) && slices.ContainsFunc(roots, func(root string) bool {
			return root == "." || name == root || strings.HasPrefix(name, root+"/")
		})
	})
	if err != nil {
		return nil, nil, err
	}
	plan, err := Scan(ctx, tree, ".")
	if err != nil {
		return nil, nil, err
	}
	known, err := w.known(ctx)
	if err != nil {
		return nil, nil, err
	}
	steps, err := plan.Seal(ctx, &Keys{Ring: w.Ring, Recipients: w.recipients}, ByManifest{Namespace: w.reseal.Spec.Namespace, Known: known}, func() {})
	return plan, steps, err
}

// changed returns the new contents of the files that change.
func changed(p *Plan) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, f := range p.Files {
		if !f.Manifest.Changed() {
			continue
		}
		text, err := f.Manifest.Bytes()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Path, err)
		}
		files[f.Path] = text
	}
	return files, nil
}

// record writes into the status what the look saw at a commit.
func (w *work) record(at plumbing.Hash, p *Plan, steps []*Step) {
	s := &w.reseal.Status
	s.Key, s.Revision, s.Items = w.newest.Fingerprint, at.String(), int32(min(len(steps), 1<<30))
	s.Needed, s.Unknown, s.Unneeded, s.Looked = nil, nil, nil, ""
	needed, _ := Needed(steps)
	for _, key := range sortedKeys(needed) {
		s.Needed = append(s.Needed, lockstepv1alpha1.KeyNeed{Key: key, Items: int32(min(needed[key], 1<<30))}) //nolint:gosec // G115: bounded
	}
	const most = 20 // of which the status tells
	for _, skipped := range p.Skipped {
		s.Unknown = append(s.Unknown, fmt.Sprintf("%s: %v", skipped.Path, skipped.Err))
	}
	for _, step := range steps {
		if step.Err != nil {
			s.Unknown = append(s.Unknown, fmt.Sprintf("%s, item %q: %v", step.File.Path, step.Item.Name, step.Err))
		}
	}
	if len(s.Unknown) > most {
		s.Unknown = append(s.Unknown[:most], fmt.Sprintf("and %d more", len(s.Unknown)-most))
	}
}

// looked remembers that a commit was looked at. What could not be read may be
// readable the next time, though nothing changed in Git.
func (w *work) looked(at plumbing.Hash) {
	if len(w.reseal.Status.Unknown) == 0 {
		w.reseal.Status.Looked = w.digest(at)
	}
}

// propose pushes a commit to the work branch, and opens a pull request. A work
// branch that has it already is left as it is.
func (w *work) propose(ctx context.Context, objects *memory.Storage, c change) error {
	spec := w.reseal.Spec.PullRequest
	branch := cmp.Or(spec.Branch, "lockstep/reseal/"+w.branch)
	if branch == w.branch {
		return reconciler.Final(reasonInvalid, fmt.Errorf("spec.pullRequest.branch: %q is the branch itself: name another", branch))
	}
	api, err := w.forge(ctx)
	if err != nil {
		return err
	}
	was, err := w.head(ctx, branch)
	if err != nil && !errors.Is(err, source.ErrNoBranch) {
		return err
	}
	made, err := w.proposed(ctx, branch, was, c.base)
	if err != nil {
		return err
	}
	if made.IsZero() {
		var all []plumbing.Hash
		if made, all, err = c.commit(objects); err != nil {
			return err
		}
		if err := w.push(ctx, objects, branch, source.Move{Old: was, New: made, Objects: all}); err != nil {
			return err
		}
	}
	status := &lockstepv1alpha1.CommitStatus{SHA1: made.String(), Base: c.base.String(), Branch: branch, Key: w.newest.Fingerprint}
	w.reseal.Status.Commit = status
	title, body, _ := strings.Cut(c.message, "\n\n")
	opened, err := api.Ensure(ctx, forge.Request{Head: branch, Base: w.branch, Title: title, Body: body})
	if err != nil {
		return reconciler.Temporary(reasonPullRequest, fmt.Errorf("branch %q is pushed: %w", branch, err))
	}
	status.PullRequest = opened.URL
	w.looked(c.base)
	return nil
}

// proposed returns the head of the work branch if it is what would be pushed: a
// commit on base after which every value is on the newest key. Two commits of
// the same values are never equal, so that it has to be looked at.
func (w *work) proposed(ctx context.Context, branch string, head, base plumbing.Hash) (plumbing.Hash, error) {
	if head.IsZero() {
		return plumbing.ZeroHash, nil
	}
	objects, head, err := w.fetch(ctx, branch)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	commit, err := object.GetCommit(objects, head)
	if err != nil || len(commit.ParentHashes) != 1 || commit.ParentHashes[0] != base || commit.Author.Email != w.author().Email {
		return plumbing.ZeroHash, nil //nolint:nilerr // a branch that is not ours to keep is overwritten
	}
	plan, _, err := w.scan(ctx, objects, head)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	if slices.ContainsFunc(plan.Files, func(f *File) bool { return f.Manifest.Changed() }) {
		return plumbing.ZeroHash, nil
	}
	return head, nil
}

func (w *work) author() object.Signature {
	a := w.reseal.Spec.Commit.Author
	return object.Signature{Name: cmp.Or(a.Name, "lockstep"), Email: cmp.Or(a.Email, "lockstep@users.noreply.localhost"), When: w.now()}
}

// poke has the source fetch the new commit now.
func (w *work) poke(ctx context.Context) error {
	before := w.git.DeepCopy()
	metav1.SetMetaDataAnnotation(&w.git.ObjectMeta, annotationRequested, w.reseal.Status.Revision)
	return w.Client.Patch(ctx, w.git, mergeFrom(before))
}
