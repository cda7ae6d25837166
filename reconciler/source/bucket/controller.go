// Package bucket keeps what buckets hold: for each Bucket its objects as a
// file tree. A look for news is one listing; only objects that changed are
// read.
package bucket

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/reconciler"
	"github.com/lockstep-dev/lockstep/reconciler/source"
)

// +kubebuilder:rbac:groups=source.toolkit.fluxcd.io,resources=buckets,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=source.toolkit.fluxcd.io,resources=buckets/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch

// Controller reconciles Buckets.
type Controller = source.KindController[*sourcev1.Bucket, state]

type run = source.Run[*sourcev1.Bucket, state]

// Options are the settings of the controller.
type Options struct {
	// AllowHTTPCredentials sends credentials over http:// too.
	AllowHTTPCredentials bool
}

// New returns the controller of Buckets.
func New(d source.Deps, o Options) *Controller {
	f := &fetcher{options: o}
	return &Controller{Deps: d, Kind: source.Kind[*sourcev1.Bucket, state]{
		Name:   sourcev1.BucketKind,
		New:    func() *sourcev1.Bucket { return &sourcev1.Bucket{} },
		List:   func() client.ObjectList { return &sourcev1.BucketList{} },
		Reason: sourcev1.BucketOperationFailedReason,
		Fields: func(b *sourcev1.Bucket) source.Fields {
			return source.Fields{
				Interval: b.Spec.Interval.Duration, Timeout: b.Spec.Timeout, Suspend: b.Spec.Suspend,
				Artifact: &b.Status.Artifact, ObservedGeneration: &b.Status.ObservedGeneration, Handled: &b.Status.ReconcileRequestStatus,
			}
		},
		Secrets: secrets,
		Fetch:   f.fetch,
		// An older state of a bucket cannot be had: the caller compares revisions.
		Restore: f.fetch,
	}}
}

func secrets(b *sourcev1.Bucket) (names []string) {
	refs := []*meta.LocalObjectReference{b.Spec.SecretRef, b.Spec.CertSecretRef, b.Spec.ProxySecretRef}
	if sts := b.Spec.STS; sts != nil {
		refs = append(refs, sts.SecretRef, sts.CertSecretRef)
	}
	for _, ref := range refs {
		if ref != nil {
			names = append(names, ref.Name)
		}
	}
	return names
}

// server is a service that holds buckets.
type server interface {
	// list calls each for every object below a prefix.
	list(ctx context.Context, bucket, prefix string, each func(object) error) error
	// read returns an object's content, if it still has the tag.
	read(ctx context.Context, bucket string, o object) ([]byte, error)
	// close frees the connections.
	close()
}

// object is one in a listing.
type object struct {
	key, tag string // tag is another one if the content is
	size     int64
}

// state is what is remembered of a bucket.
type state struct {
	server   server
	serverOf string // what that was made by

	of       string            // what, besides the objects, the snapshot was made by
	tags     map[string]string // of all objects, by key; nil if there is no snapshot
	snapshot source.Snapshot
}

type fetcher struct{ options Options }

// Limits of a bucket: of what is listed, with what is left out.
const (
	maxObjects = 300_000
	maxKey     = 1024 // bytes; S3's own
)

// fetch returns what the bucket holds: with one listing if nothing changed.
func (f *fetcher) fetch(ctx context.Context, r *run) (source.Snapshot, error) {
	if err := f.connect(ctx, r); err != nil {
		return source.Snapshot{}, err
	}
	b, s := r.Object, r.State
	listed, err := list(ctx, s.server, b)
	if err != nil {
		return source.Snapshot{}, f.classify(b, err)
	}
	tags := map[string]string{}
	for _, o := range listed {
		tags[o.key] = o.tag
	}
	if of := of(b); s.of != of {
		s.of, s.tags = of, nil
	}
	b.Status.ObservedIgnore = b.Spec.Ignore
	if s.tags != nil && maps.Equal(s.tags, tags) {
		return s.snapshot, nil
	}
	tree, err := s.pull(ctx, b, listed)
	if err != nil {
		return source.Snapshot{}, f.classify(b, err)
	}
	s.tags, s.snapshot = tags, source.Snapshot{Revision: revision(tags), Tree: tree}
	return s.snapshot, nil
}

// of names what, besides its objects, decides how the tree looks.
func of(b *sourcev1.Bucket) string {
	of := fmt.Sprintf("%q %q %q %q", b.Spec.Provider, b.Spec.Endpoint, b.Spec.BucketName, b.Spec.Prefix)
	if b.Spec.Ignore != nil {
		of += "\n" + *b.Spec.Ignore
	}
	return of
}

// revision is Flux's: a sum of all keys and tags.
func revision(tags map[string]string) string {
	sum := sha256.New()
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		fmt.Fprintf(sum, "%s %s\n", key, tags[key])
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil))
}

// contentError is about what a bucket holds, and not about the service.
type contentError struct{ err error }

func (e *contentError) Error() string { return e.err.Error() }
func (e *contentError) Unwrap() error { return e.err }

// list returns the files of a bucket that its rules do not leave out.
func list(ctx context.Context, from server, b *sourcev1.Bucket) ([]object, error) {
	var all []object
	err := from.list(ctx, b.Spec.BucketName, b.Spec.Prefix, func(o object) error {
		if strings.HasSuffix(o.key, "/") { // a folder, as some tools make them
			return nil
		}
		if len(o.key) > maxKey || len(all) == maxObjects {
			return fmt.Errorf("%w: the bucket holds more than %d objects: narrow it with spec.prefix", source.ErrTooLarge, maxObjects)
		}
		all = append(all, o)
		return nil
	})
	return all, err
}

// pull makes the tree, and reads what is not known of it.
func (s *state) pull(ctx context.Context, b *sourcev1.Bucket, listed []object) (*source.Tree, error) {
	read := func(o object) ([]byte, error) { return s.read(ctx, b.Spec.BucketName, o) }
	ignore, err := s.ignore(listed, read)
	if err != nil {
		return nil, err
	}
	files := &source.Builder{}
	for _, o := range listed {
		if ignore.Ignores(o.key) {
			continue
		}
		if o.size > source.MaxFile {
			return nil, fmt.Errorf("%w: %s has %d bytes, more than %d: leave it out with spec.ignore", source.ErrTooLarge, o.key, o.size, source.MaxFile)
		}
		data, err := read(o)
		if err != nil {
			return nil, err
		}
		if err := files.Add(o.key, 0o444, int64(len(data)), strings.NewReader(string(data))); err != nil {
			return nil, &contentError{err}
		}
	}
	tree, err := files.Tree(b.Spec.Ignore)
	if err != nil {
		return nil, &contentError{err}
	}
	return tree, nil
}

// read returns the content of an object, which need not be read twice.
func (s *state) read(ctx context.Context, bucket string, o object) ([]byte, error) {
	if s.tags != nil && s.tags[o.key] == o.tag {
		if data, err := s.snapshot.Tree.ReadFile(o.key); err == nil {
			return data, nil
		}
	}
	return s.server.read(ctx, bucket, o)
}

// ignore reads the .sourceignore file of the root first, so that what it
// leaves out is never read.
func (s *state) ignore(listed []object, read func(object) ([]byte, error)) (*source.Ignore, error) {
	for _, o := range listed {
		if o.key != source.IgnoreFile || o.size > source.MaxFile {
			continue
		}
		data, err := read(o)
		if err != nil {
			return nil, err
		}
		return source.NewIgnore(data), nil
	}
	return source.NewIgnore(nil), nil
}

// classify tells what can cure a failure.
func (f *fetcher) classify(b *sourcev1.Bucket, err error) error {
	later, of := b.Spec.Interval.Duration, fmt.Sprintf("bucket %s at %s", b.Spec.BucketName, b.Spec.Endpoint)
	var (
		content *contentError
		answer  *answerError
	)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	case errors.Is(err, source.ErrTooLarge):
		return fmt.Errorf("%s: %w", of, err)
	case errors.Is(err, source.ErrPlain), errors.Is(err, source.ErrPlainCredentials):
		return reconciler.Wait(reasonAuthentication, later, fmt.Errorf("%s: %w", of, plainest(err)))
	case errors.As(err, &content):
		return reconciler.Wait(sourcev1.InvalidPathReason, later, fmt.Errorf("%s: %w", of, content))
	case errors.As(err, &answer):
		return answer.outcome(of, later)
	default:
		return reconciler.Temporary(sourcev1.BucketOperationFailedReason, fmt.Errorf("%s: no answer that can be used: %s", of, kindOf(err)))
	}
}
