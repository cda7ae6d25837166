package kustomization

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"

	"github.com/fluxcd/cli-utils/pkg/object"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/lockstep-dev/lockstep/reconciler/apply"
	"github.com/lockstep-dev/lockstep/reconciler/plan"
	"github.com/lockstep-dev/lockstep/reconciler/render"
)

// run is one pass over one Kustomization.
type run struct {
	*Controller
	ks       *kustomizev1.Kustomization
	state    *state
	client   *apply.Client
	revision string
	origin   string // the revision of what the source was made from, if it says so
}

// render brings r.state.rendered up to date, if the tree, the spec or a
// substituted object has changed in a way that it depends on.
func (r *run) render(ctx context.Context, tree fs.FS) error {
	inputs, err := r.inputs(ctx)
	if err != nil {
		return err
	}
	key, err := inputs.key(r.ks)
	if err != nil {
		return err
	}
	was := &r.state.rendered
	if was.inputs == key && r.state.same(tree) {
		return nil
	}
	vars, secrets, err := r.variables(ctx, inputs)
	if err != nil {
		return err
	}
	was.secrets = secrets.values
	opener, err := r.opener(ctx)
	if err != nil {
		return err
	}
	how := options(r.ks, vars)
	how.Secret, how.FindPlaintext = secrets.names, r.Plaintext.of(r.ks) != Allow
	how.FindSuspects, how.IgnoreRules = r.Plaintext.ofValues(r.ks) != Allow, r.Plaintext.IgnoreRules
	if opener != nil {
		how.Opener = opener
	}
	result, err := render.Render(tree, how)
	if opener != nil {
		secrets.values = append(secrets.values, opener.Values()...)
		was.secrets = secrets.values
	}
	if errors.Is(err, render.ErrPath) {
		return retry(r.ks, meta.ArtifactFailedReason, fmt.Errorf("spec.path: %w at revision %s: correct the path, or commit it", err, r.revision))
	}
	if err != nil {
		return retry(r.ks, meta.BuildFailedReason, err)
	}
	if err := r.guard(result.Plaintext); err != nil {
		return err
	}
	if err := r.guardValues(result.Suspects); err != nil {
		return err
	}
	planned, known, err := r.admit(result.Objects)
	if err != nil {
		return err
	}
	sum, err := digest(key + result.Reads.Digest())
	if err != nil {
		return err
	}
	r.state.reads.Store(&result.Reads)
	*was = rendered{inputs: key, digest: "sha256:" + sum, objects: planned, secrets: secrets.values}
	if !known {
		was.inputs = "" // look again when the definitions are established
	}
	return nil
}

func options(ks *kustomizev1.Kustomization, vars map[string]string) render.Options {
	return render.Options{
		Path:            ks.Spec.Path,
		TargetNamespace: ks.Spec.TargetNamespace,
		NamePrefix:      ks.Spec.NamePrefix,
		NameSuffix:      ks.Spec.NameSuffix,
		Components:      ks.Spec.Components,
		Patches:         ks.Spec.Patches,
		Images:          ks.Spec.Images,
		BuildMetadata:   buildMetadata(ks),
		Substitute:      vars,

		IgnoreMissingComponents: ks.Spec.IgnoreMissingComponents,
	}
}

func buildMetadata(ks *kustomizev1.Kustomization) []string {
	options := make([]string, 0, len(ks.Spec.BuildMetadata))
	for _, o := range ks.Spec.BuildMetadata {
		options = append(options, string(o))
	}
	return options
}

// admit makes rendered objects ready for the plan: common metadata and owner
// labels, and a namespace where and only where the kind has one. known is
// false if there are kinds that the cluster does not serve yet.
func (r *run) admit(objects []*unstructured.Unstructured) (planned []plan.Object, known bool, err error) {
	known = true
	for _, o := range objects {
		served, err := r.scope(o)
		if err != nil {
			return nil, false, retry(r.ks, meta.BuildFailedReason, fmt.Errorf("%s: %w", render.Name(o), err))
		}
		known = known && served
		r.label(o)
		hash, err := digest(o)
		if err != nil {
			return nil, false, fmt.Errorf("%s: %w", render.Name(o), err)
		}
		gvk := o.GroupVersionKind()
		planned = append(planned, plan.Object{
			Entry: plan.Entry{
				ID:      object.ObjMetadata{Namespace: o.GetNamespace(), Name: o.GetName(), GroupKind: gvk.GroupKind()},
				Version: gvk.Version,
			},
			Desired: o,
			Hash:    hash,
			Skip:    apply.ModeOf(o) == apply.Ignore,
		})
	}
	return planned, known, nil
}

// scope checks the namespace of o. A kind that the cluster does not serve yet,
// because its definition is among the objects or its API group is down, is
// left for later.
func (r *run) scope(o *unstructured.Unstructured) (served bool, err error) {
	gvk := o.GroupVersionKind()
	_, namespaced, err := r.client.Resource(gvk.GroupKind(), gvk.Version)
	switch {
	case err != nil:
		return false, nil //nolint:nilerr // the apply of this object fails by the same error, and no other does
	case namespaced && o.GetNamespace() == "":
		return true, errors.New("metadata.namespace is missing: set it, or spec.targetNamespace of the Kustomization")
	case !namespaced:
		o.SetNamespace("")
	}
	return true, nil
}

func (r *run) label(o *unstructured.Unstructured) {
	labels, annotations := map[string]string{}, map[string]string{}
	maps.Copy(labels, o.GetLabels())
	maps.Copy(annotations, o.GetAnnotations())
	if common := r.ks.Spec.CommonMetadata; common != nil {
		maps.Copy(labels, common.Labels)
		maps.Copy(annotations, common.Annotations)
	}
	labels[apply.OwnerName], labels[apply.OwnerNamespace] = r.ks.Name, r.ks.Namespace
	o.SetLabels(labels)
	if len(annotations) > 0 {
		o.SetAnnotations(annotations)
	}
}

func digest(v any) (string, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode: %w", err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), nil
}
