package kustomization

import (
	"context"
	"fmt"
	"maps"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/reconciler/render"
)

// inputs are the objects that variables come from, by their metadata alone:
// they tell whether a value can have changed without reading one.
type inputs []input

type input struct {
	ref     kustomizev1.SubstituteReference
	version string // UID and resourceVersion; empty if it is not there
	keys    bool   // it holds keys, not variables
}

// version identifies the present content of a Secret or ConfigMap without
// reading it.
func (r *run) version(ctx context.Context, kind string, of client.ObjectKey) (string, error) {
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
	if err := r.Metadata.Get(ctx, of, m); err != nil {
		return "", err
	}
	return string(m.UID) + "/" + m.ResourceVersion, nil
}

// beside is an object in the Kustomization's namespace.
func (r *run) beside(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: r.ks.Namespace, Name: name}
}

func (r *run) inputs(ctx context.Context) (inputs, error) {
	in, err := r.keysInput(ctx)
	if err != nil || r.ks.Spec.PostBuild == nil {
		return in, err
	}
	for i, ref := range r.ks.Spec.PostBuild.SubstituteFrom {
		version, err := r.version(ctx, ref.Kind, r.beside(ref.Name))
		switch {
		case apierrors.IsNotFound(err) && ref.Optional:
			in = append(in, input{ref: ref})
		case apierrors.IsNotFound(err):
			return nil, retry(r.ks, meta.BuildFailedReason, r.missing(i, ref))
		case err != nil:
			return nil, fmt.Errorf("look up %s %s/%s: %w", ref.Kind, r.ks.Namespace, ref.Name, err)
		default:
			in = append(in, input{ref: ref, version: version})
		}
	}
	return in, nil
}

func (r *run) missing(i int, ref kustomizev1.SubstituteReference) error {
	return fmt.Errorf("spec.postBuild.substituteFrom[%d]: %s %s/%s does not exist: create it, or set optional: true", i, ref.Kind, r.ks.Namespace, ref.Name)
}

// key is equal for two runs that would render the same tree alike.
func (in inputs) key(ks *kustomizev1.Kustomization) (string, error) {
	spec := ks.Spec.DeepCopy()
	// What has no influence on the objects.
	spec.Interval, spec.RetryInterval, spec.Timeout = metav1.Duration{}, nil, nil
	spec.DependsOn, spec.HealthChecks, spec.HealthCheckExprs, spec.Wait, spec.Prune = nil, nil, nil, false, false
	versions := make([]string, 0, len(in))
	for _, i := range in {
		versions = append(versions, i.version)
	}
	return digest(map[string]any{"spec": spec, "versions": versions})
}

// secrets are the variables whose values came from Secrets.
type secrets struct {
	names  map[string]bool
	values []string // never to be shown
}

// note records which variables come from a Secret. What comes later replaces
// what was there.
func (s *secrets) note(values map[string]string, secret bool) {
	for name, value := range values {
		if s.names[name] = secret; secret {
			s.values = append(s.values, value)
		}
	}
}

func checkVariables(vars map[string]string) error {
	for name := range vars {
		if err := render.CheckVariable(name); err != nil {
			return fmt.Errorf("spec.postBuild: %w", err)
		}
	}
	return nil
}

// variables reads the values, each object once and as the account that
// applies. With no variables at all it returns nil, and nothing is
// substituted, as in Flux.
func (r *run) variables(ctx context.Context, in inputs) (vars map[string]string, from secrets, err error) {
	post := r.ks.Spec.PostBuild
	if post == nil {
		return nil, from, nil
	}
	vars, from.names = map[string]string{}, map[string]bool{}
	reader, err := r.Clients.For(r.local(r.ks))
	if err != nil {
		return nil, from, retry(r.ks, meta.BuildFailedReason, err)
	}
	i := -1 // of spec.postBuild.substituteFrom
	for _, input := range in {
		if input.keys {
			continue
		}
		if i++; input.version == "" {
			continue
		}
		values, err := reader.Data(ctx, input.ref.Kind, r.ks.Namespace, input.ref.Name)
		if apierrors.IsNotFound(err) {
			return nil, from, retry(r.ks, meta.BuildFailedReason, r.missing(i, input.ref))
		}
		if err != nil {
			return nil, from, retry(r.ks, meta.BuildFailedReason,
				fmt.Errorf("spec.postBuild.substituteFrom[%d]: read %s %s/%s: %w", i, input.ref.Kind, r.ks.Namespace, input.ref.Name, err))
		}
		from.note(values, input.ref.Kind == "Secret")
		maps.Copy(vars, values)
	}
	from.note(post.Substitute, false)
	maps.Copy(vars, post.Substitute)
	if err := checkVariables(vars); err != nil {
		return nil, from, retry(r.ks, meta.BuildFailedReason, err)
	}
	if len(vars) == 0 && r.ks.GetSubstituteStrategy() != kustomizev1.SubstituteStrategyAlways {
		return nil, from, nil
	}
	return vars, from, nil
}
