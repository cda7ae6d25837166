package kustomization

import (
	"fmt"
	"path"
	"time"

	"github.com/fluxcd/cli-utils/pkg/object"
	"github.com/fluxcd/pkg/apis/meta"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/lockstep-dev/lockstep/reconciler/apply"
	"github.com/lockstep-dev/lockstep/reconciler/health"
	"github.com/lockstep-dev/lockstep/reconciler/plan"
)

// check is one object whose health counts.
type check struct {
	id     object.ObjMetadata
	target apply.Target
}

func (c check) name() string { return path.Join(c.id.GroupKind.Kind, c.id.Namespace, c.id.Name) }

// checks lists the objects whose health decides: all with spec.wait, else
// those of spec.healthChecks, which may be others than those applied.
func (r *run) checks(objects []plan.Object) []check {
	mine := make(map[object.ObjMetadata]check, len(objects))
	all := make([]check, 0, len(objects))
	for _, o := range objects {
		if o.Skip || r.state.applied[o.ID].skipped {
			continue // left as it is, healthy or not
		}
		c := check{o.ID, r.target(r.ks, o)}
		mine[o.ID] = c
		all = append(all, c)
	}
	if r.ks.Spec.Wait {
		return all
	}
	var named []check
	for _, h := range r.ks.Spec.HealthChecks {
		gvk := schema.FromAPIVersionAndKind(h.APIVersion, h.Kind)
		id := object.ObjMetadata{Namespace: h.Namespace, Name: h.Name, GroupKind: gvk.GroupKind()}
		if c, ok := mine[id]; ok {
			named = append(named, c)
			continue
		}
		named = append(named, check{id, apply.Target{
			Account: r.account(r.ks), Kind: gvk, Namespace: h.Namespace, Name: h.Name, Rules: r.state.compiled.rulesFor(gvk.GroupKind()),
		}})
	}
	return named
}

// healthy ends a run whose objects are applied: with success if they are as
// their specs say, and otherwise with the wait for it. An object that falls
// ill later has the timeout to recover before it is reported.
func (r *run) healthy(objects []plan.Object) error {
	h, timeout := &r.state.health, r.ks.GetTimeout()
	checks := r.checks(objects)
	unwell, result := r.unwell(checks)
	if unwell == "" {
		*h = healthState{reached: true}
		r.succeeded(len(checks) > 0)
		return nil
	}
	if h.since.IsZero() {
		h.since = time.Now() //nolint:forbidigo // the Loop has no clock of its own
	}
	if result.Status == health.Failed || time.Since(h.since) >= timeout {
		err := fmt.Errorf("%s is not healthy: status %s: %s", unwell, result.Status, result.Message)
		r.condition(metav1.ConditionFalse, meta.HealthCheckFailedReason, err.Error())
		return retry(r.ks, meta.HealthCheckFailedReason, err)
	}
	if h.reached {
		r.succeeded(true)
		return nil
	}
	after := h.left(timeout)
	if r.state.blind {
		after = min(after, glance)
	}
	return r.progressing(objects, after)
}

// unwell returns the first object that is not as it should be, failed ones
// before others.
func (r *run) unwell(checks []check) (string, health.Result) {
	name, worst := "", health.Result{}
	for _, c := range checks {
		result := health.Result{Status: health.NotFound, Message: "it does not exist"}
		if live, ok := r.watcher.Get(c.target, c.id); ok {
			result = live.Health
		}
		if result.Status == health.Failed {
			return c.name(), result
		}
		if result.Status != health.Current && name == "" {
			name, worst = c.name(), result
		}
	}
	return name, worst
}

func (r *run) succeeded(checked bool) {
	r.ks.Status.LastAppliedRevision, r.ks.Status.LastAppliedOriginRevision = r.revision, r.origin
	if checked {
		r.condition(metav1.ConditionTrue, meta.SucceededReason, "All health checks passed")
		return
	}
	apimeta.RemoveStatusCondition(&r.ks.Status.Conditions, meta.HealthyCondition)
}

// condition sets Healthy, which Flux has beside Ready.
func (r *run) condition(status metav1.ConditionStatus, reason, message string) {
	apimeta.SetStatusCondition(&r.ks.Status.Conditions, metav1.Condition{
		Type: meta.HealthyCondition, Status: status, Reason: reason, Message: message, ObservedGeneration: r.ks.Generation,
	})
}
