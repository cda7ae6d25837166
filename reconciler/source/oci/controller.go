// Package oci keeps what OCI artifacts hold: for each OCIRepository the files
// of the layer that it selects, verified by digest and, where it asks for it,
// by signature.
package oci

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/google/go-containerregistry/pkg/name"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/reconciler"
	"github.com/lockstep-dev/lockstep/reconciler/source"
)

// +kubebuilder:rbac:groups=source.toolkit.fluxcd.io,resources=ocirepositories,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=source.toolkit.fluxcd.io,resources=ocirepositories/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=serviceaccounts,verbs=get
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch

// Controller reconciles OCIRepositories.
type Controller = source.KindController[*sourcev1.OCIRepository, state]

type run = source.Run[*sourcev1.OCIRepository, state]

// Options are the settings of the controller.
type Options struct {
	// AllowHTTPCredentials sends credentials to registries over http:// too.
	AllowHTTPCredentials bool
	// Login gets credentials of the cloud in spec.provider. Nil: there is none.
	Login source.Login
}

// New returns the controller of OCIRepositories.
func New(d source.Deps, o Options) *Controller {
	f := &fetcher{options: o}
	return &Controller{Deps: d, Kind: source.Kind[*sourcev1.OCIRepository, state]{
		Name:   sourcev1.OCIRepositoryKind,
		New:    func() *sourcev1.OCIRepository { return &sourcev1.OCIRepository{} },
		List:   func() client.ObjectList { return &sourcev1.OCIRepositoryList{} },
		Reason: sourcev1.OCIPullFailedReason,
		Fields: func(r *sourcev1.OCIRepository) source.Fields {
			return source.Fields{
				Interval: r.Spec.Interval.Duration, Timeout: r.Spec.Timeout, Suspend: r.Spec.Suspend,
				Artifact: &r.Status.Artifact, ObservedGeneration: &r.Status.ObservedGeneration, Handled: &r.Status.ReconcileRequestStatus,
			}
		},
		Secrets: secrets, Fetch: f.fetch, Restore: f.restore,
		Metadata: func(s *state) map[string]string { return s.annotations },
	}}
}

// secrets are the names of the Secrets that a repository names itself.
func secrets(r *sourcev1.OCIRepository) (names []string) {
	refs := []*meta.LocalObjectReference{r.Spec.SecretRef, r.Spec.CertSecretRef, r.Spec.ProxySecretRef}
	if v := r.Spec.Verify; v != nil {
		refs = append(refs, v.SecretRef, v.TrustedRootSecretRef)
	}
	for _, ref := range refs {
		if ref != nil {
			names = append(names, ref.Name)
		}
	}
	return names
}

// state is what is remembered of a repository.
type state struct {
	registry   *registry // how it is reached
	registryOf string    // what that was made by
	passes     source.Passes

	of          string // what, besides the digest, the snapshot was made by
	digest      string
	snapshot    source.Snapshot
	annotations map[string]string

	verified   string // what was verified, and by which keys
	verifiedBy string // what was found
}

type fetcher struct{ options Options }

// fetch returns what the artifact holds: with one request if it did not change.
func (f *fetcher) fetch(ctx context.Context, r *run) (source.Snapshot, error) {
	repository, err := parse(r.Object)
	if err != nil {
		return source.Snapshot{}, err
	}
	reg, err := f.connect(ctx, r, repository)
	if err != nil {
		return source.Snapshot{}, err
	}
	tag, digest, err := reg.resolve(ctx, r.Object.Spec.Reference)
	if err != nil {
		return source.Snapshot{}, f.classify(r, err)
	}
	return f.at(ctx, r, tag, digest)
}

// at returns what the artifact of a digest holds.
func (f *fetcher) at(ctx context.Context, r *run, tag, digest string) (source.Snapshot, error) {
	reg := r.State.registry
	if err := f.verify(ctx, r, reg.repository.Digest(digest)); err != nil {
		return source.Snapshot{}, err
	}
	s, of := r.State, of(r.Object)
	if s.digest != digest || s.of != of {
		tree, annotations, err := reg.pull(ctx, digest, r.Object)
		if err != nil {
			return source.Snapshot{}, f.classify(r, err)
		}
		s.digest, s.of, s.annotations = digest, of, annotations
		s.snapshot = source.Snapshot{Tree: tree, Origin: annotations[annotationRevision]}
	}
	s.snapshot.Revision = digest
	if tag != "" {
		s.snapshot.Revision = tag + "@" + digest
	}
	r.Object.Status.ObservedIgnore, r.Object.Status.ObservedLayerSelector = r.Object.Spec.Ignore, r.Object.Spec.LayerSelector
	return s.snapshot, nil
}

// annotationRevision says which revision of its source an artifact was made of.
// Source: https://github.com/opencontainers/image-spec/blob/main/annotations.md
const annotationRevision = "org.opencontainers.image.revision"

// restore pulls the digest that the status names.
func (f *fetcher) restore(ctx context.Context, r *run) (source.Snapshot, error) {
	repository, err := parse(r.Object)
	if err != nil {
		return source.Snapshot{}, err
	}
	if _, err := f.connect(ctx, r, repository); err != nil {
		return source.Snapshot{}, err
	}
	tag, digest, tagged := strings.Cut(r.Object.Status.Artifact.Revision, "@")
	if !tagged {
		tag, digest = "", tag
	}
	if _, err := name.NewDigest(repository.Name() + "@" + digest); err != nil {
		return source.Snapshot{}, fmt.Errorf("status.artifact.revision names no digest: resume the repository")
	}
	return f.at(ctx, r, tag, digest)
}

// of names what, besides the digest, decides how the tree looks.
func of(r *sourcev1.OCIRepository) string {
	of := r.Spec.URL + "\n" + r.GetLayerMediaType() + "\n" + r.GetLayerOperation()
	if r.Spec.Ignore != nil {
		of += "\n\n" + *r.Spec.Ignore
	}
	return of
}

// Condition reasons.
const (
	reasonAuthentication = sourcev1.AuthenticationFailedReason
	reasonPull           = sourcev1.OCIPullFailedReason
	reasonLayer          = sourcev1.OCILayerOperationFailedReason
)

// parse reads the address.
func parse(r *sourcev1.OCIRepository) (name.Repository, error) {
	var options []name.Option
	if r.Spec.Insecure {
		options = append(options, name.Insecure)
	}
	repository, err := name.NewRepository(strings.TrimPrefix(r.Spec.URL, sourcev1.OCIRepositoryPrefix), append(options, name.StrictValidation)...)
	if err != nil {
		return repository, reconciler.Final(sourcev1.URLInvalidReason, fmt.Errorf("spec.url: %q is not the address of a repository: write it as oci://HOST/PATH, without a tag", r.Spec.URL))
	}
	return repository, nil
}

// verification sets what was found of the signatures.
func verification(r *sourcev1.OCIRepository, found string, err error) {
	if r.Spec.Verify == nil {
		apimeta.RemoveStatusCondition(&r.Status.Conditions, sourcev1.SourceVerifiedCondition)
		return
	}
	c := metav1.Condition{
		Type: sourcev1.SourceVerifiedCondition, Status: metav1.ConditionTrue, Reason: meta.SucceededReason, Message: found, ObservedGeneration: r.Generation,
	}
	if err != nil {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, sourcev1.VerificationError, err.Error()
	}
	apimeta.SetStatusCondition(&r.Status.Conditions, c)
}

// sorted returns a text that is equal for equal content.
func sorted(data map[string][]byte) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(data)) {
		fmt.Fprintf(&b, "%q=%q\n", key, data[key])
	}
	return b.String()
}
