package health

import (
	"fmt"
	"strings"

	kustomize "github.com/fluxcd/pkg/apis/kustomize"
	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/ext"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// maxCost bounds one evaluation, in CEL's units of about one step each: an
// expression over a status of a thousand entries takes some ten thousand.
const maxCost = 1_000_000

// An Expr is a compiled CEL expression that yields true or false.
type Expr struct{ program cel.Program }

// NewExpr compiles an expression over variables of any type. field names the
// expression in errors.
func NewExpr(field, source string, variables ...string) (*Expr, error) {
	options := []cel.EnvOption{ext.Strings(), ext.Sets(), ext.Lists(), ext.Encoders(), cel.OptionalTypes()}
	for _, v := range variables {
		options = append(options, cel.Variable(v, cel.DynType))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	ast, issues := env.Compile(source)
	if issues.Err() != nil {
		return nil, fmt.Errorf("%s: %w", field, issues.Err())
	}
	if t := ast.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("%s: must be true or false, but is a %s", field, t)
	}
	program, err := env.Program(ast, cel.CostLimit(maxCost))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	return &Expr{program}, nil
}

// Holds evaluates the expression. Its errors name no value.
func (e *Expr) Holds(variables map[string]any) (bool, error) {
	out, _, err := e.program.Eval(variables)
	if err != nil {
		return false, fmt.Errorf("cannot be evaluated: %w", err)
	}
	holds, ok := out.Value().(bool)
	if !ok {
		return false, fmt.Errorf("must be true or false, but is a %s", out.Type().TypeName())
	}
	return holds, nil
}

// Rules say by CEL expressions how the objects of one kind are.
type Rules struct{ current, inProgress, failed *Expr }

// NewRules compiles the expressions of one custom health check. field names it
// in errors.
func NewRules(field string, check kustomize.CustomHealthCheck) (*Rules, error) {
	r := &Rules{}
	for _, e := range []struct {
		name, source string
		into         **Expr
	}{{"current", check.Current, &r.current}, {"inProgress", check.InProgress, &r.inProgress}, {"failed", check.Failed, &r.failed}} {
		if e.source == "" {
			continue
		}
		expr, err := NewExpr(field+"."+e.name, e.source, fields...)
		if err != nil {
			return nil, err
		}
		*e.into = expr
	}
	if r.current == nil {
		return nil, fmt.Errorf("%s.current: is required", field)
	}
	return r, nil
}

// fields are the variables of a health check: what an object has at its top.
var fields = []string{"apiVersion", "kind", "metadata", "spec", "status", "data"}

// Matches reports whether a custom health check is about a kind: by group,
// and, where it names one, by kind. The version does not matter.
func Matches(check kustomize.CustomHealthCheck, gk schema.GroupKind) bool {
	group, _, versioned := strings.Cut(check.APIVersion, "/")
	if !versioned {
		if group == "v1" {
			group = ""
		}
	}
	return group == gk.Group && (check.Kind == "" || check.Kind == gk.Kind)
}

// Of judges a live object: inProgress first, then failed, then current, as in
// Flux. A status that is of an older generation is in progress. What cannot
// be evaluated, as the field is not there yet, does not hold.
func (r *Rules) Of(live *unstructured.Unstructured) Result {
	observed, found, err := unstructured.NestedInt64(live.Object, "status", "observedGeneration")
	if err == nil && found && observed != live.GetGeneration() {
		return Result{InProgress, "its controller has not seen the newest spec yet"}
	}
	vars := map[string]any{}
	for _, f := range fields {
		vars[f] = live.Object[f]
	}
	if r.inProgress != nil {
		if is, err := r.inProgress.Holds(vars); err == nil && is {
			return Result{InProgress, "healthCheckExprs: inProgress holds"}
		}
	}
	if r.failed != nil {
		if is, err := r.failed.Holds(vars); err == nil && is {
			return Result{Failed, "healthCheckExprs: failed holds"}
		}
	}
	if is, err := r.current.Holds(vars); err == nil && is {
		return Result{Current, ""}
	}
	return Result{InProgress, "healthCheckExprs: current does not hold"}
}
