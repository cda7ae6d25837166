package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/lockstep-dev/lockstep/reconciler"
	"github.com/lockstep-dev/lockstep/reconciler/source"
)

// registry is a repository at a registry, and how to be let in. It keeps its
// token, so that a look for news is one request.
type registry struct {
	repository name.Repository
	puller     *remote.Puller
	options    []remote.Option
	transport  http.RoundTripper
	auth       authn.Authenticator
}

func newRegistry(repository name.Repository, transport http.RoundTripper, auth authn.Authenticator) (*registry, error) {
	r := &registry{repository: repository, transport: bounded{transport}, auth: auth}
	r.options = []remote.Option{
		remote.WithTransport(r.transport), remote.WithAuth(auth), remote.WithUserAgent("lockstep"),
		remote.WithRetryBackoff(remote.Backoff{Steps: 1}), // the Loop tries again, and no worker sleeps
	}
	var err error
	if r.puller, err = remote.NewPuller(r.options...); err != nil {
		return nil, fmt.Errorf("reach the registry: %w", err)
	}
	return r, nil
}

// Limits of what a registry may send besides layers.
const (
	maxManifest = 4 << 20 // bytes; that of registries themselves
	maxTags     = 100_000
)

// bounded ends answers that are larger than any that is right.
type bounded struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err //nolint:wrapcheck // a transport hands on what it is given
	}
	limit := int64(maxManifest)
	if strings.Contains(r.URL.Path, "/blobs/") || !strings.HasPrefix(r.URL.Path, "/v2/") { // or where a blob was redirected to
		limit = source.MaxArchive
	}
	resp.Body = &limitedBody{ReadCloser: resp.Body, left: limit}
	return resp, nil
}

type limitedBody struct {
	io.ReadCloser
	left int64
}

// Read implements io.Reader.
func (l *limitedBody) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, fmt.Errorf("%w: the registry sends more than it may", source.ErrTooLarge)
	}
	return n, err
}

// refError is about spec.ref, and not about the registry.
type refError struct{ err error }

func (e *refError) Error() string { return e.err.Error() }

// resolve returns the digest that a reference means, and the tag by which it
// was found: digest before semver before tag.
func (r *registry) resolve(ctx context.Context, ref *sourcev1.OCIRepositoryRef) (tag, digest string, err error) {
	switch {
	case ref != nil && ref.Digest != "":
		d, err := v1.NewHash(ref.Digest)
		if err != nil {
			return "", "", &refError{fmt.Errorf("spec.ref.digest: %q is not a digest: write it as sha256: and 64 digits", ref.Digest)}
		}
		return "", d.String(), nil
	case ref != nil && ref.SemVer != "":
		if tag, err = r.version(ctx, ref.SemVer, ref.SemverFilter); err != nil {
			return "", "", err
		}
	case ref != nil && ref.Tag != "":
		tag = ref.Tag
	default:
		tag = name.DefaultTag
	}
	if _, err := name.NewTag(r.repository.Name()+":"+tag, name.StrictValidation); err != nil {
		return "", "", &refError{fmt.Errorf("spec.ref.tag: %q is not a tag", tag)}
	}
	found, err := r.puller.Head(ctx, r.repository.Tag(tag))
	if err != nil {
		return "", "", fmt.Errorf("look up the tag: %w", err)
	}
	return tag, found.Digest.String(), nil
}

// version returns the tag with the highest version in a range.
func (r *registry) version(ctx context.Context, expression, filter string) (string, error) {
	within, err := semver.NewConstraint(expression)
	if err != nil {
		return "", &refError{fmt.Errorf("spec.ref.semver: %q is not a range of versions: write it like '>=1.2.0 <2.0.0' or '1.x'", expression)}
	}
	match, err := regexp.Compile(filter)
	if err != nil {
		return "", &refError{fmt.Errorf("spec.ref.semverFilter: %q is not a regular expression", filter)}
	}
	tags, err := r.tags(ctx)
	if err != nil {
		return "", err
	}
	var best *semver.Version
	for _, tag := range tags {
		v, err := semver.NewVersion(tag)
		if err != nil || !match.MatchString(tag) || !within.Check(v) || best != nil && !v.GreaterThan(best) {
			continue
		}
		best = v
	}
	if best == nil {
		return "", &refError{fmt.Errorf("spec.ref.semver: of %d tags, none is a version within %q that spec.ref.semverFilter lets through", len(tags), expression)}
	}
	return best.Original(), nil
}

func (r *registry) tags(ctx context.Context) ([]string, error) {
	list, err := r.puller.Lister(ctx, r.repository)
	if err != nil {
		return nil, fmt.Errorf("list the tags: %w", err)
	}
	var tags []string
	for list.HasNext() {
		page, err := list.Next(ctx)
		if err != nil {
			return nil, fmt.Errorf("list the tags: %w", err)
		}
		if tags = append(tags, page.Tags...); len(tags) > maxTags {
			return nil, fmt.Errorf("%w: the repository has more than %d tags", source.ErrTooLarge, maxTags)
		}
	}
	return tags, nil
}

// layerError is about what an artifact holds.
type layerError struct{ err error }

func (e *layerError) Error() string { return e.err.Error() }
func (e *layerError) Unwrap() error { return e.err }

// pull returns the files of an artifact, and its annotations.
func (r *registry) pull(ctx context.Context, digest string, o *sourcev1.OCIRepository) (*source.Tree, map[string]string, error) {
	descriptor, err := r.puller.Get(ctx, r.repository.Digest(digest))
	if err != nil {
		return nil, nil, fmt.Errorf("read the artifact: %w", err)
	}
	image, err := descriptor.Image()
	if err != nil {
		return nil, nil, fmt.Errorf("read the artifact: %w", err)
	}
	manifest, err := image.Manifest()
	if err != nil {
		return nil, nil, fmt.Errorf("read the manifest: %w", err)
	}
	layer, err := selected(image, manifest, o.GetLayerMediaType())
	if err != nil {
		return nil, nil, err
	}
	content, err := layer.Compressed() // whose digest is checked as it is read
	if err != nil {
		return nil, nil, fmt.Errorf("read the layer: %w", err)
	}
	defer content.Close()
	var files *source.Builder
	ignore := o.Spec.Ignore
	if o.GetLayerOperation() == sourcev1.OCILayerCopy {
		files, err = copied(content)
		keep := "!" + copiedName // archives are left out by default
		ignore = &keep
	} else {
		files, err = source.Extract(content)
	}
	if err != nil {
		return nil, nil, fault(ctx, err)
	}
	tree, err := files.Tree(ignore)
	return tree, manifest.Annotations, fault(ctx, err)
}

// fault tells a bad layer from a time that is up.
func fault(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	default:
		return &layerError{err}
	}
}

// selected returns the first layer of a type, or the first of all.
func selected(image v1.Image, manifest *v1.Manifest, mediaType string) (v1.Layer, error) {
	var there []string
	for _, d := range manifest.Layers {
		if mediaType != "" && string(d.MediaType) != mediaType {
			there = append(there, string(d.MediaType))
			continue
		}
		if d.Size > source.MaxArchive {
			return nil, fmt.Errorf("%w: the layer has %d bytes, more than %d", source.ErrTooLarge, d.Size, source.MaxArchive)
		}
		layer, err := image.LayerByDigest(d.Digest)
		if err != nil {
			return nil, fmt.Errorf("read the layer: %w", err)
		}
		return layer, nil
	}
	if len(there) == 0 {
		return nil, &layerError{errors.New("the artifact has no layer")}
	}
	return nil, &layerError{fmt.Errorf("spec.layerSelector.mediaType: the artifact has no layer of %q, but of %s", mediaType, strings.Join(there[:min(5, len(there))], ", "))}
}

// copiedName is the one file of a layer that is not extracted.
const copiedName = "artifact.tar.gz"

// copied keeps a layer as it is.
func copied(content io.Reader) (*source.Builder, error) {
	data, err := io.ReadAll(io.LimitReader(content, source.MaxFile+1))
	if err != nil {
		return nil, err
	}
	files := &source.Builder{}
	return files, files.Add(copiedName, 0o444, int64(len(data)), strings.NewReader(string(data)))
}

// classify tells what can cure a failure.
func (f *fetcher) classify(r *run, err error) error {
	o, later := r.Object, r.Object.Spec.Interval.Duration
	var (
		ref    *refError
		layer  *layerError
		status *statusError
	)
	_ = errors.As(asStatus(err), &status)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	case errors.Is(err, source.ErrTooLarge):
		return fmt.Errorf("%s: %w", o.Spec.URL, err)
	case source.Untrusted(err):
		return reconciler.Wait(reasonPull, later, fmt.Errorf("%s: the registry's certificate is not trusted: name a Secret with its ca.crt in spec.certSecretRef", o.Spec.URL))
	case errors.Is(err, source.ErrPlain):
		return reconciler.Wait(reasonPull, later, fmt.Errorf("%s: %w", o.Spec.URL, source.ErrPlain))
	case errors.Is(err, source.ErrPlainCredentials):
		return reconciler.Wait(reasonAuthentication, later, fmt.Errorf("%s: %w", o.Spec.URL, source.ErrPlainCredentials))
	case errors.As(err, &ref):
		return reconciler.Wait(reasonPull, later, ref)
	case errors.As(err, &layer):
		return reconciler.Wait(reasonLayer, later, fmt.Errorf("%s: %w", o.Spec.URL, layer))
	case status != nil:
		if status.status == http.StatusUnauthorized {
			r.State.passes.Drop()
		}
		return status.outcome(o)
	default:
		return reconciler.Temporary(reasonPull, fmt.Errorf("%s: %s", o.Spec.URL, redact(err.Error(), r.State.registry)))
	}
}
