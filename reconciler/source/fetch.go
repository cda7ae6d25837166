package source

import (
	"context"
	"crypto/sha1" //nolint:gosec // G505: Git's object names, not a signature of ours
	"errors"
	"fmt"
	"io"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/lockstep-dev/lockstep/reconciler/source/pack"
)

// limits of what a server may send. What is inflated is held in memory until
// the tree is made of it: a few MiB for the manifests of a large platform.
func limits(inflated int64) pack.Limits {
	if inflated <= 0 {
		inflated = DefaultMaxGitSize
	}
	return pack.Limits{
		Pack:     4 * inflated, // most of it files that are skipped
		Inflated: inflated,
		Object:   maxFile,
		Skipped:  4 << 30,   // bytes; some seconds of work
		Objects:  2_000_000, // of a history that is fetched for a pinned commit; the Linux kernel's newest commit has 100,000
		Depth:    4095,      // Git's own
	}
}

// DefaultMaxGitSize is how many bytes the objects of a fetch may have, if
// nothing else is set.
const DefaultMaxGitSize = 128 << 20

// session is a conversation with a Git server about one repository: at most a
// listing of its refs and one pack.
type session struct {
	transport.UploadPackSession
	listed   *packp.AdvRefs
	limits   pack.Limits
	received int // objects in the pack
}

// list asks which refs there are, and returns the commit that ref means.
func (s *session) list(ctx context.Context, ref sourcev1.GitRepositoryRef) (target, error) {
	var err error
	if s.listed, err = s.AdvertisedReferencesContext(ctx); err != nil {
		return target{}, err
	}
	t, err := choose(ref, s.listed)
	if err != nil {
		return target{}, &refError{err}
	}
	return t, nil
}

// refError is about spec.ref, and not about the server.
type refError struct{ err error }

func (e *refError) Error() string { return e.err.Error() }
func (e *refError) Unwrap() error { return e.err }

// fetch gets the objects of t: of its commit alone, where the server gives
// that by itself, and else of the branch with its history. What the commit has
// in common with was, if that is not nil, need not come again.
func (s *session) fetch(ctx context.Context, t target, was *checkout) (*objects, error) {
	request, err := s.request(t, was)
	if err != nil {
		return nil, err
	}
	answer, err := s.UploadPack(ctx, request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Close() }() // what was read of it is checked
	found, err := newObjects(was)
	if err != nil {
		return nil, err
	}
	result, err := pack.Read(demux(request.Capabilities, answer), found, s.limits)
	if err != nil {
		return nil, fmt.Errorf("read pack: %w", err)
	}
	s.received, found.skipped = result.Objects, result.Skipped > 0
	if _, err := object.GetCommit(found, t.hash); errors.Is(err, plumbing.ErrObjectNotFound) {
		return nil, &refError{fmt.Errorf("spec.ref.commit: %s: %w; push it, or name its branch in spec.ref.branch", t.hash, errNotReachable)}
	}
	return found, nil
}

func (s *session) request(t target, was *checkout) (*packp.UploadPackRequest, error) {
	request := packp.NewUploadPackRequestFromCapabilities(s.listed.Capabilities)
	alone := t.branch.IsZero() ||
		s.listed.Capabilities.Supports(capability.AllowReachableSHA1InWant) || s.listed.Capabilities.Supports(capability.AllowTipSHA1InWant)
	request.Wants = []plumbing.Hash{t.hash}
	switch {
	case !alone:
		request.Wants[0] = t.branch
	case !t.tag.IsZero():
		request.Wants[0] = t.tag // and with it its commit
	}
	if alone && s.listed.Capabilities.Supports(capability.Shallow) {
		request.Depth = packp.DepthCommits(1)
		if was != nil {
			// Only a thin pack leaves out what the old commit has, where the new
			// one's history is cut off (git pack-objects, --objects-edge-aggressive).
			request.Haves, request.Shallows = []plumbing.Hash{was.commit}, []plumbing.Hash{was.commit}
			if err := request.Capabilities.Set(capability.ThinPack); err != nil {
				return nil, err
			}
		}
		if err := request.Capabilities.Set(capability.Shallow); err != nil {
			return nil, err
		}
	}
	if s.listed.Capabilities.Supports(capability.NoProgress) {
		if err := request.Capabilities.Set(capability.NoProgress); err != nil {
			return nil, err
		}
	}
	return request, nil
}

// objects are those of a fetch, over those of the commit before.
type objects struct {
	*memory.Storage
	known   map[[sha1.Size]byte][]byte // content of files, by Git's name
	skipped bool                       // files were too large to keep
}

func newObjects(was *checkout) (*objects, error) {
	o := &objects{Storage: memory.NewStorage()}
	if was == nil {
		return o, nil
	}
	o.known = was.tree.content()
	for _, kept := range was.kept {
		if _, err := o.SetEncodedObject(kept); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// EncodedObject implements storer.EncodedObjectStorer.
func (o *objects) EncodedObject(kind plumbing.ObjectType, hash plumbing.Hash) (plumbing.EncodedObject, error) {
	found, err := o.Storage.EncodedObject(kind, hash)
	data, known := o.known[hash]
	if err == nil || !known || kind != plumbing.BlobObject && kind != plumbing.AnyObject {
		return found, err
	}
	return pack.NewObject(plumbing.BlobObject, data), nil
}

// demux takes the pack out of the server's stream, in which it may be wrapped.
func demux(agreed *capability.List, r io.Reader) io.Reader {
	switch {
	case agreed.Supports(capability.Sideband64k):
		return sideband.NewDemuxer(sideband.Sideband64k, r)
	case agreed.Supports(capability.Sideband):
		return sideband.NewDemuxer(sideband.Sideband, r)
	default:
		return r
	}
}

var errTooLarge = pack.ErrTooLarge
