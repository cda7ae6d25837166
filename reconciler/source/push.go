package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/lockstep-dev/lockstep/reconciler/source/pack"
)

// ErrNoBranch says that a repository has no such branch.
var ErrNoBranch = errors.New("the repository has no such branch")

// ErrRaced says that a branch was not where the push expected it: someone else
// pushed first. Nothing was changed.
var ErrRaced = errors.New("someone else pushed to the branch first")

// Repository is a repository that can be read and pushed to.
type Repository struct {
	remote *remote
	source *sourcev1.GitRepository
	secret credentials
}

// OpenRepository returns the repository of r, with the credentials of a Secret
// that may push. insecure sends them over http:// too.
func OpenRepository(r *sourcev1.GitRepository, secret map[string][]byte, insecure bool) (*Repository, error) {
	remote, err := newRemote(r.Spec.URL, secret, access{timeout: timeout(r), insecure: insecure})
	if err != nil {
		return nil, classify(r, err, fetching{secret: secret})
	}
	return &Repository{remote: remote, source: r, secret: secret}, nil
}

// Close frees the connections.
func (r *Repository) Close() { r.remote.close() }

// Explain tells what can cure a failure of r, as the Loop understands it, and
// takes the credentials out of its text.
func (r *Repository) Explain(err error) error {
	if err == nil || errors.Is(err, ErrNoBranch) || errors.Is(err, ErrRaced) {
		return err
	}
	return classify(r.source, err, fetching{secret: r.secret})
}

// Head returns the commit of a branch; ErrNoBranch if there is none.
func (r *Repository) Head(ctx context.Context, branch string) (plumbing.Hash, error) {
	s, err := r.remote.open()
	if err != nil {
		return plumbing.ZeroHash, err
	}
	defer s.Close()
	listed, err := s.AdvertisedReferencesContext(ctx)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	hash, ok := listed.References[branches+branch]
	if !ok {
		return plumbing.ZeroHash, fmt.Errorf("%w: %q; there are %s", ErrNoBranch, branch, some(listed, branches))
	}
	return hash, nil
}

// Fetch returns the objects of the newest commit of a branch, without its
// history, and the commit.
func (r *Repository) Fetch(ctx context.Context, branch string) (*memory.Storage, plumbing.Hash, error) {
	s, err := r.remote.open()
	if err != nil {
		return nil, plumbing.ZeroHash, err
	}
	defer s.Close()
	listed, err := s.AdvertisedReferencesContext(ctx)
	if err != nil {
		return nil, plumbing.ZeroHash, err
	}
	commit, ok := listed.References[branches+branch]
	if !ok {
		return nil, plumbing.ZeroHash, fmt.Errorf("%w: %q; there are %s", ErrNoBranch, branch, some(listed, branches))
	}
	request := packp.NewUploadPackRequestFromCapabilities(listed.Capabilities)
	request.Wants = []plumbing.Hash{commit}
	if listed.Capabilities.Supports(capability.Shallow) {
		request.Depth = packp.DepthCommits(1)
		if err := request.Capabilities.Set(capability.Shallow); err != nil {
			return nil, commit, err
		}
	}
	answer, err := s.UploadPack(ctx, request)
	if err != nil {
		return nil, commit, err
	}
	defer func() { _ = answer.Close() }() // only read from
	objects := memory.NewStorage()
	if _, err := pack.Read(demux(request.Capabilities, answer), objects, limits(0)); err != nil {
		return nil, commit, fmt.Errorf("read pack: %w", err)
	}
	return objects, commit, nil
}

// Files returns the regular files of a commit for which want is true, as a
// tree. Limits are those of a source.
func Files(objects *memory.Storage, commit plumbing.Hash, want func(path string) bool) (*Tree, error) {
	c, err := object.GetCommit(objects, commit)
	if err != nil {
		return nil, fmt.Errorf("read commit: %w", err)
	}
	tree, err := c.Tree()
	if err != nil {
		return nil, fmt.Errorf("read tree of commit: %w", err)
	}
	files := map[string]string{}
	total := int64(0)
	err = tree.Files().ForEach(func(f *object.File) error {
		if !f.Mode.IsRegular() && f.Mode != filemode.Executable || !want(f.Name) {
			return nil
		}
		if total += f.Size; f.Size > maxFile || total > maxTree || len(files) == maxFiles {
			return fmt.Errorf("%w: at %s", errTooLarge, f.Name)
		}
		content, err := f.Contents()
		files[f.Name] = content
		return err
	})
	if err != nil {
		return nil, err
	}
	return NewTree(files)
}

// Push moves a branch from one commit to another that objects holds, along with
// the other new objects. A zero old makes the branch. It returns an ErrRaced,
// and changes nothing, if the branch is not at old.
func (r *Repository) Push(ctx context.Context, objects *memory.Storage, branch string, move Move) error {
	s, err := r.remote.transport.NewReceivePackSession(r.remote.endpoint, r.remote.auth)
	if err != nil {
		return err
	}
	defer s.Close()
	listed, err := s.AdvertisedReferencesContext(ctx)
	if err != nil {
		return err
	}
	if listed.References[branches+branch] != move.Old {
		return ErrRaced
	}
	request := packp.NewReferenceUpdateRequestFromCapabilities(listed.Capabilities)
	request.Commands = []*packp.Command{{Name: plumbing.NewBranchReferenceName(branch), Old: move.Old, New: move.New}}
	if listed.Capabilities.Supports(capability.ReportStatus) {
		if err := request.Capabilities.Set(capability.ReportStatus); err != nil {
			return err
		}
	}
	var packed bytes.Buffer
	if _, err := packfile.NewEncoder(&packed, objects, false).Encode(move.Objects, 0); err != nil {
		return fmt.Errorf("pack the commit: %w", err)
	}
	request.Packfile = io.NopCloser(&packed)
	report, err := s.ReceivePack(ctx, request)
	if report != nil && report.Error() != nil {
		return refused(report)
	}
	return err
}

// Move is a push: from Old, to New, with the objects that the server lacks.
type Move struct {
	Old, New plumbing.Hash
	Objects  []plumbing.Hash
}

// RefusedError is a push that the server's rules do not allow.
type RefusedError struct{ Reason string }

// Error implements error.
func (e *RefusedError) Error() string { return "the server refuses the push: " + e.Reason }

// refused tells a lost race from a rule, by the words of Git.
// Source: https://github.com/git/git/blob/v2.47.0/builtin/receive-pack.c
func refused(report *packp.ReportStatus) error {
	reason := report.UnpackStatus
	for _, c := range report.CommandStatuses {
		if c.Error() != nil {
			reason = c.Status
		}
	}
	for _, race := range []string{"failed to update ref", "cannot lock ref", "incorrect old value", "reference already exists", "non-fast-forward", "fetch first", "stale info"} {
		if strings.Contains(reason, race) {
			return ErrRaced
		}
	}
	return &RefusedError{Reason: reason}
}
