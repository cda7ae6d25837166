package kustomization

import (
	"fmt"
	"sync"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/apis/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ktypes "sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/resid"

	"github.com/lockstep-dev/lockstep/reconciler"
	"github.com/lockstep-dev/lockstep/reconciler/apply"
	"github.com/lockstep-dev/lockstep/reconciler/health"
)

// compiled is what the expressions and selectors of one spec mean.
type compiled struct {
	generation int64
	checks     []kustomize.CustomHealthCheck
	rules      []*health.Rules      // of checks, by index
	ready      map[int]*health.Expr // of dependsOn, by index
	ignore     []ignored
}

// ignored is one rule of spec.ignore.
type ignored struct {
	selector            *ktypes.SelectorRegex
	labels, annotations labels.Selector
	paths               []string
}

// rules holds every health rule that was compiled, by its text, so that all
// who write the same share a watch. Rules are few, so none is dropped.
type rules struct {
	mu sync.Mutex
	m  map[kustomize.CustomHealthCheck]*health.Rules
}

func (r *rules) of(field string, check kustomize.CustomHealthCheck) (*health.Rules, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known, ok := r.m[check]; ok {
		return known, nil
	}
	made, err := health.NewRules(field, check)
	if err != nil {
		return nil, err
	}
	if r.m == nil {
		r.m = map[kustomize.CustomHealthCheck]*health.Rules{}
	}
	r.m[check] = made
	return made, nil
}

// compile reads the expressions of a spec, once per generation.
func (c *Controller) compile(ks *kustomizev1.Kustomization) error {
	st := c.states.of(ks)
	if st.compiled.generation == ks.Generation {
		return nil
	}
	made := compiled{generation: ks.Generation, checks: ks.Spec.HealthCheckExprs, ready: map[int]*health.Expr{}}
	for i, check := range ks.Spec.HealthCheckExprs {
		r, err := c.rules.of(fmt.Sprintf("spec.healthCheckExprs[%d]", i), check)
		if err != nil {
			return reconciler.Final(meta.InvalidCELExpressionReason, err)
		}
		made.rules = append(made.rules, r)
	}
	for i, d := range ks.Spec.DependsOn {
		if d.ReadyExpr == "" {
			continue
		}
		expr, err := health.NewExpr(fmt.Sprintf("spec.dependsOn[%d].readyExpr", i), d.ReadyExpr, "self", "dep")
		if err != nil {
			return reconciler.Final(meta.InvalidCELExpressionReason, err)
		}
		made.ready[i] = expr
	}
	for i, rule := range ks.Spec.Ignore {
		r, err := newIgnored(rule)
		if err != nil {
			return reconciler.Final(meta.BuildFailedReason, fmt.Errorf("spec.ignore[%d]: %w", i, err))
		}
		made.ignore = append(made.ignore, r)
	}
	st.compiled = made
	return nil
}

// rulesFor returns the rules for a kind; nil where kstatus decides.
func (c *compiled) rulesFor(gk schema.GroupKind) *health.Rules {
	for i, check := range c.checks {
		if health.Matches(check, gk) {
			return c.rules[i]
		}
	}
	return nil
}

func newIgnored(rule kustomizev1.IgnoreRule) (r ignored, err error) {
	r.paths, r.labels, r.annotations = rule.Paths, labels.Everything(), labels.Everything()
	for _, p := range rule.Paths {
		if err := apply.CheckPointer(p); err != nil {
			return r, fmt.Errorf("paths: %w", err)
		}
	}
	if rule.Target == nil {
		return r, nil
	}
	t := rule.Target
	r.selector, err = ktypes.NewSelectorRegex(&ktypes.Selector{ResId: resid.ResId{
		Gvk: resid.Gvk{Group: t.Group, Version: t.Version, Kind: t.Kind}, Name: t.Name, Namespace: t.Namespace,
	}})
	if err != nil {
		return r, fmt.Errorf("target: %w", err)
	}
	if r.labels, err = labels.Parse(t.LabelSelector); err != nil {
		return r, fmt.Errorf("target.labelSelector: %w", err)
	}
	if r.annotations, err = labels.Parse(t.AnnotationSelector); err != nil {
		return r, fmt.Errorf("target.annotationSelector: %w", err)
	}
	return r, nil
}

// ignores returns the fields of o that belong to others.
func (c *compiled) ignores(o *unstructured.Unstructured) (paths []string) {
	gvk := o.GroupVersionKind()
	for _, r := range c.ignore {
		if s := r.selector; s != nil && (!s.MatchGvk(resid.Gvk{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind}) ||
			!s.MatchName(o.GetName()) || !s.MatchNamespace(o.GetNamespace())) {
			continue
		}
		if r.labels.Matches(labels.Set(o.GetLabels())) && r.annotations.Matches(labels.Set(o.GetAnnotations())) {
			paths = append(paths, r.paths...)
		}
	}
	return paths
}

// readyBy evaluates a readyExpr.
func readyBy(expr *health.Expr, ks, dep *kustomizev1.Kustomization) (bool, error) {
	self, err := runtime.DefaultUnstructuredConverter.ToUnstructured(ks)
	if err != nil {
		return false, fmt.Errorf("convert %s: %w", key(ks), err)
	}
	other, err := runtime.DefaultUnstructuredConverter.ToUnstructured(dep)
	if err != nil {
		return false, fmt.Errorf("convert %s: %w", key(dep), err)
	}
	return expr.Holds(map[string]any{"self": self, "dep": other})
}
