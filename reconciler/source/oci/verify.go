package oci

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tuf"

	"github.com/lockstep-dev/lockstep/reconciler"
	"github.com/lockstep-dev/lockstep/reconciler/source/oci/cosign"
	"github.com/lockstep-dev/lockstep/reconciler/source/oci/notation"
)

// Names in a Secret, and of a provider; they are Flux's.
const (
	keyRoot          = "trusted_root.json"
	providerCosign   = "cosign"
	providerNotation = "notation"
)

// verify returns an error unless an artifact is signed as the spec wants it.
// It looks again when the artifact, the spec or a key changes.
func (f *fetcher) verify(ctx context.Context, r *run, digest name.Digest) error {
	v, s := r.Object.Spec.Verify, r.State
	if v == nil {
		s.verified = ""
		verification(r.Object, "", nil)
		return nil
	}
	keys, err := r.Secret(ctx, "spec.verify.secretRef", v.SecretRef)
	if err != nil {
		return err
	}
	trusted, err := r.Secret(ctx, "spec.verify.trustedRootSecretRef", v.TrustedRootSecretRef)
	if err != nil {
		return err
	}
	by := fmt.Sprintf("%s %s %+v\n%s\n%s", digest, v.Provider, v.MatchOIDCIdentity, sorted(keys), sorted(trusted))
	if s.verified != by {
		if s.verifiedBy, err = f.signedBy(ctx, r, digest, keys, trusted); err != nil {
			s.verified = ""
			return f.unverified(r, digest, err)
		}
		s.verified = by
	}
	verification(r.Object, fmt.Sprintf("verified signature of %s by %s", digest.DigestStr(), s.verifiedBy), nil)
	return nil
}

// unverified tells an artifact that is not trusted from a registry that fails.
func (f *fetcher) unverified(r *run, digest name.Digest, err error) error {
	var wrong *configError
	var registry *registryError
	switch {
	case errors.As(err, &registry):
		return f.classify(r, registry.err)
	case errors.As(err, &wrong):
		err = fmt.Errorf("%s: %w", wrong.field, wrong.err)
		verification(r.Object, "", err)
		return reconciler.Final(sourcev1.VerificationError, err)
	default:
		err = fmt.Errorf("%s is not trusted: %w", digest.DigestStr(), err)
		verification(r.Object, "", err)
		return reconciler.Wait(sourcev1.VerificationError, r.Object.Spec.Interval.Duration, fmt.Errorf("%s: %w", r.Object.Spec.URL, err))
	}
}

// configError is about spec.verify, or a Secret that it names.
type configError struct {
	field string
	err   error
}

func (e *configError) Error() string { return e.err.Error() }

// registryError is about the registry, and says nothing of the artifact.
type registryError struct{ err error }

func (e *registryError) Error() string { return e.err.Error() }

// signedBy returns who has signed an artifact.
func (f *fetcher) signedBy(ctx context.Context, r *run, digest name.Digest, keys, trusted map[string][]byte) (string, error) {
	v, reg := r.Object.Spec.Verify, r.State.registry
	if v.Provider == providerNotation {
		n, err := notation.New(keys)
		if err != nil {
			return "", &configError{"spec.verify.secretRef", err}
		}
		return n.Verify(ctx, digest, notation.Access{Transport: reg.transport, Auth: reg.auth, Plain: r.Object.Spec.Insecure})
	}
	if v.Provider != "" && v.Provider != providerCosign {
		return "", &configError{"spec.verify.provider", fmt.Errorf("%q is not one that is known: use cosign or notation", v.Provider)}
	}
	check, err := f.cosign(ctx, v, keys, trusted)
	if err != nil {
		return "", err
	}
	found, err := reg.signatures(ctx, digest)
	if err != nil {
		return "", &registryError{err}
	}
	hex := strings.TrimPrefix(digest.DigestStr(), "sha256:")
	return check(hex, found)
}

// cosign returns how to check signatures: by keys, or by identities.
func (f *fetcher) cosign(ctx context.Context, v *sourcev1.OCIRepositoryVerification, keys, trusted map[string][]byte) (func(string, []cosign.Signature) (string, error), error) {
	if v.SecretRef != nil {
		k, err := cosign.ParseKeys(keys)
		if err != nil {
			return nil, &configError{"spec.verify.secretRef", err}
		}
		return k.Verify, nil
	}
	var material root.TrustedMaterial
	var err error
	if v.TrustedRootSecretRef != nil {
		material, err = cosign.ParseRoot(trusted[keyRoot])
	} else {
		material, err = publicRoot.get(ctx)
	}
	if err != nil {
		return nil, &configError{"spec.verify.trustedRootSecretRef", fmt.Errorf("%s: %w", keyRoot, err)}
	}
	var all []cosign.Identity
	for _, m := range v.MatchOIDCIdentity {
		all = append(all, cosign.Identity{Issuer: m.Issuer, Subject: m.Subject})
	}
	i, err := cosign.NewIdentities(material, all)
	if err != nil {
		return nil, &configError{"spec.verify", err}
	}
	return i.Verify, nil
}

// publicRoot is that of Sigstore's public instance.
var publicRoot sharedRoot

// sharedRoot is a trusted root that is fetched, verified by TUF, once a day.
type sharedRoot struct {
	mu      sync.Mutex
	root    root.TrustedMaterial
	fetched time.Time
}

func (s *sharedRoot) get(ctx context.Context) (root.TrustedMaterial, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.root != nil && time.Since(s.fetched) < 24*time.Hour {
		return s.root, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	found, err := root.FetchTrustedRootWithOptions(tuf.DefaultOptions().WithDisableLocalCache())
	if err != nil {
		return nil, errors.New("that of Sigstore cannot be fetched from tuf-repo-cdn.sigstore.dev: name a Secret with your own")
	}
	s.root, s.fetched = found, time.Now() //nolint:forbidigo // as above
	return found, nil
}

// Limits of what lies next to an artifact.
const (
	maxSignatures = 50
	maxSignature  = 1 << 20 // bytes
)

// Media types of signatures, and where their parts are.
const (
	bundleType   = "application/vnd.dev.sigstore.bundle"
	keySignature = "dev.cosignproject.cosign/signature"
	keyCert      = "dev.sigstore.cosign/certificate"
	keyLog       = "dev.sigstore.cosign/bundle"
	signatureTag = ".sig"
)

// signatures returns what cosign has put next to an artifact: at a tag that is
// made of its digest, and as what refers to it.
func (r *registry) signatures(ctx context.Context, digest name.Digest) ([]cosign.Signature, error) {
	found, err := r.tagged(ctx, digest)
	if err != nil {
		return nil, err
	}
	index, err := remote.Referrers(digest, append([]remote.Option{remote.WithContext(ctx), remote.Reuse(r.puller)}, r.options...)...)
	if isNotFound(err) {
		return found, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list what refers to the artifact: %w", err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("list what refers to the artifact: %w", err)
	}
	for _, d := range manifest.Manifests {
		if !strings.HasPrefix(d.ArtifactType, bundleType) || len(found) == maxSignatures {
			continue
		}
		text, err := r.bundle(ctx, r.repository.Digest(d.Digest.String()))
		if err != nil {
			return nil, err
		}
		found = append(found, cosign.Signature{Bundle: text})
	}
	return found, nil
}

// tagged returns the signatures at the tag that is made of a digest.
func (r *registry) tagged(ctx context.Context, digest name.Digest) ([]cosign.Signature, error) {
	tag := r.repository.Tag(strings.Replace(digest.DigestStr(), ":", "-", 1) + signatureTag)
	img, err := r.image(ctx, tag)
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parts(img)
}

// bundle returns the first layer of an artifact that is a signature; nothing
// of one that cannot be read.
func (r *registry) bundle(ctx context.Context, ref name.Reference) ([]byte, error) {
	img, err := r.image(ctx, ref)
	if err != nil {
		return nil, err
	}
	layers, err := img.Layers()
	if err != nil || len(layers) == 0 {
		return []byte("{}"), nil //nolint:nilerr // a signature like this counts for nothing
	}
	return small(layers[0])
}

func (r *registry) image(ctx context.Context, ref name.Reference) (v1.Image, error) {
	d, err := r.puller.Get(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("read the signature: %w", err)
	}
	img, err := d.Image()
	if err != nil {
		return nil, fmt.Errorf("read the signature: %w", err)
	}
	return img, nil
}

// parts returns the signatures of an image of them.
func parts(img v1.Image) ([]cosign.Signature, error) {
	manifest, err := img.Manifest()
	if err != nil {
		return nil, fmt.Errorf("read the signatures: %w", err)
	}
	var found []cosign.Signature
	for _, d := range manifest.Layers[:min(len(manifest.Layers), maxSignatures)] {
		layer, err := img.LayerByDigest(d.Digest)
		if err != nil {
			return nil, fmt.Errorf("read the signatures: %w", err)
		}
		payload, err := small(layer)
		if err != nil {
			return nil, err
		}
		found = append(found, cosign.Signature{
			Payload: payload, Signature: decoded(d.Annotations[keySignature]),
			Certificate: []byte(d.Annotations[keyCert]), Log: []byte(d.Annotations[keyLog]),
		})
	}
	return found, nil
}

func small(layer v1.Layer) ([]byte, error) {
	r, err := layer.Compressed()
	if err != nil {
		return nil, fmt.Errorf("read the signature: %w", err)
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, maxSignature))
}

// decoded returns what is left of a text in base64; nothing of one that is not.
func decoded(text string) []byte {
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil
	}
	return data
}

func isNotFound(err error) bool {
	s, ok := errors.AsType[*statusError](asStatus(err))
	return ok && s.status == http.StatusNotFound
}
