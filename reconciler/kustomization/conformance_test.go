package kustomization_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/apis/meta"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// conformance is one behaviour of Flux's kustomize-controller: what a source
// and a spec lead to, and, where there are steps, what becomes of a change.
type conformance struct {
	reason string
	files  map[string]string
	spec   func(*kustomizev1.KustomizationSpec)
	before func(*bench) // the Kustomization is made
	ready  string       // empty is True
	steps  []step
}

// step changes something and says what must then be so.
type step struct {
	name   string
	push   map[string]string // a new revision
	do     func(*bench)
	ready  string // after a push; empty is True
	within time.Duration
	want   func(*bench) bool
}

// TestConformance is the list of behaviours that Flux's own tests of its
// kustomize-controller stand for, as tests of our own making.
func TestConformance(t *testing.T) {
	for _, group := range []map[string]conformance{
		appliesAsFlux(), sharesAsFlux(), leavesAsFlux(), buildsAsFlux(), changesAsFlux(), prunesAsFlux(), deletesAsFlux(), substitutesAsFlux(), waitsAsFlux(), answersAsFlux(),
	} {
		for name, tc := range group {
			t.Run(name, func(t *testing.T) {
				b := start(t)
				tc.run(b)
			})
		}
	}
}

func (tc conformance) run(b *bench) {
	b.t.Helper()
	if tc.before != nil {
		tc.before(b)
	}
	b.push("main@sha1:first", tc.files)
	b.create("app", tc.spec)
	b.ready("app", or(tc.ready, "True"))
	for _, s := range tc.steps {
		if s.do != nil {
			s.do(b)
		}
		if s.push != nil {
			b.push("main@sha1:"+s.name, s.push)
			b.ready("app", or(s.ready, "True/ReconciliationSucceeded/Applied revision: main@sha1:"+s.name))
		}
		if s.want != nil {
			eventually(b.t, max(s.within, 3*time.Second), tc.reason+" / "+s.name, func() bool { return s.want(b) })
		}
	}
}

func or(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}

func with(o string, annotation string) string {
	return strings.Replace(o, "metadata:\n", "metadata:\n  annotations: {"+annotation+"}\n", 1)
}

func has(name, want string) func(*bench) bool {
	return func(b *bench) bool { cm, err := b.configMap(name); return err == nil && cm.Data["key"] == want }
}

func there(names ...string) func(*bench) bool {
	return func(b *bench) bool {
		return !slices.ContainsFunc(names, func(n string) bool { _, err := b.configMap(n); return err != nil })
	}
}

func absent(name string) func(*bench) bool { return func(b *bench) bool { return b.gone(name) } }

// edit changes a ConfigMap as another field manager would.
func edit(name, manager string, change func(*corev1.ConfigMap)) func(*bench) {
	return func(b *bench) {
		b.t.Helper()
		cm, err := b.configMap(name)
		if err != nil {
			b.t.Fatal(err)
		}
		change(cm)
		if err := b.Update(b.t.Context(), cm, client.FieldOwner(manager)); err != nil {
			b.t.Fatal(err)
		}
	}
}

func annotate(key, value string) func(*corev1.ConfigMap) {
	return func(cm *corev1.ConfigMap) { metav1.SetMetaDataAnnotation(&cm.ObjectMeta, key, value) }
}

func setKey(value string) func(*corev1.ConfigMap) {
	return func(cm *corev1.ConfigMap) { cm.Data["key"] = value }
}

func createConfigMap(name, manager, value string) func(*bench) {
	return func(b *bench) {
		b.t.Helper()
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: name}, Data: map[string]string{"key": value, "extra": "theirs"}}
		if err := b.Create(b.t.Context(), cm, client.FieldOwner(manager)); err != nil {
			b.t.Fatal(err)
		}
	}
}

// stays reports that check holds for a while.
func stays(check func(*bench) bool) func(*bench) bool {
	return func(b *bench) bool {
		time.Sleep(700 * time.Millisecond) // several times what a correction takes
		return check(b)
	}
}

const ssa = "kustomize.toolkit.fluxcd.io/ssa"

func prunesAsFlux() map[string]conformance {
	two := map[string]string{"a.yaml": configMap("a", "one"), "b.yaml": configMap("b", "one")}
	one := map[string]string{"a.yaml": configMap("a", "one")}
	return map[string]conformance{
		"Prune":    {reason: "What is gone from the source goes.", files: two, steps: []step{{name: "second", push: one, want: absent("b")}}},
		"PruneOff": {reason: "But not without spec.prune.", files: two, spec: func(s *kustomizev1.KustomizationSpec) { s.Prune = false }, steps: []step{{name: "second", push: one, want: stays(there("b"))}}},
		"PruneSkipNotOwned": {
			reason: "What no longer carries our labels is not ours to delete.", files: two,
			steps: []step{
				{name: "second", do: edit("b", "someone", func(cm *corev1.ConfigMap) {
					annotate("kustomize.toolkit.fluxcd.io/reconcile", "disabled")(cm)
					cm.Labels = nil
				}), push: one, want: stays(there("b"))},
			},
		},
		"PruneDisabledByAnnotation": {
			reason: "An object that says so is left behind.", files: map[string]string{"a.yaml": configMap("a", "one"), "b.yaml": with(configMap("b", "one"), "kustomize.toolkit.fluxcd.io/prune: disabled")},
			steps: []step{{name: "second", push: one, want: stays(there("b"))}},
		},
		"PruneExcludesSSAIgnore": {
			reason: "What is ignored is not pruned.", files: two,
			steps: []step{{name: "second", do: edit("b", "someone", annotate(ssa, "Ignore")), push: one, want: stays(there("b"))}},
		},
		"PruneIncludesSSAIfNotPresent": {
			reason: "What was only created is pruned.", files: map[string]string{"a.yaml": configMap("a", "one"), "b.yaml": with(configMap("b", "one"), ssa+": IfNotPresent")},
			steps: []step{{name: "second", push: one, want: absent("b")}},
		},
		"PruneEmpty": {
			reason: "A path that has nothing left looks like a mistake, and is none if somebody says so.", files: map[string]string{"a.yaml": configMap("a", "one"), "kustomization.yaml": "resources: [a.yaml]\n"},
			steps: []step{{name: "second", push: map[string]string{"kustomization.yaml": "resources: []\n"}, ready: "False", want: stays(there("a"))}},
		},
	}
}

func deletesAsFlux() map[string]conformance {
	one := map[string]string{"a.yaml": configMap("a", "one")}
	drop := func(c *bench) {
		if err := c.Delete(c.t.Context(), &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Namespace: c.ns, Name: "app"}}); err != nil {
			c.t.Fatal(err)
		}
	}
	finished := func(c *bench) bool {
		return apierrors.IsNotFound(c.Get(c.t.Context(), client.ObjectKey{Namespace: c.ns, Name: "app"}, &kustomizev1.Kustomization{}))
	}
	unfinalize := func(name string) func(*bench) {
		return func(c *bench) { edit(name, "someone", func(cm *corev1.ConfigMap) { cm.Finalizers = nil })(c) }
	}
	return map[string]conformance{
		"DeletionPolicyDelete": {
			reason: "Delete deletes, also without spec.prune.", files: one,
			spec: func(s *kustomizev1.KustomizationSpec) {
				s.Prune, s.DeletionPolicy = false, kustomizev1.DeletionPolicyDelete
			},
			steps: []step{{name: "deleted", do: drop, want: func(b *bench) bool { return b.gone("a") && finished(b) }}},
		},
		"DeletionPolicyOrphan": {
			reason: "Orphan leaves behind.", files: one,
			spec:  func(s *kustomizev1.KustomizationSpec) { s.DeletionPolicy = kustomizev1.DeletionPolicyOrphan },
			steps: []step{{name: "deleted", do: drop, want: func(b *bench) bool { return there("a")(b) && finished(b) }}},
		},
		"DeletionPolicyWaitForTermination": {
			reason: "WaitForTermination stays until the last object is gone.", files: one,
			spec: func(s *kustomizev1.KustomizationSpec) {
				s.DeletionPolicy = kustomizev1.DeletionPolicyWaitForTermination
			},
			steps: []step{
				{name: "held", do: func(b *bench) {
					edit("a", "someone", func(cm *corev1.ConfigMap) { cm.Finalizers = []string{"example.org/held"} })(b)
					drop(b)
				}, want: stays(func(b *bench) bool { return there("a")(b) && !finished(b) })},
				{name: "gone", do: unfinalize("a"), want: func(b *bench) bool { return b.gone("a") && finished(b) }},
			},
		},
		"DeleteWhileFailing": {
			reason: "A Kustomization that fails can be deleted.", files: map[string]string{"a.yaml": "a: [b\n"}, ready: "False/BuildFailed",
			steps: []step{{name: "deleted", do: drop, want: finished}},
		},
	}
}

func substitutesAsFlux() map[string]conformance {
	vars := func(kind, name string, optional bool) func(*kustomizev1.KustomizationSpec) {
		return func(s *kustomizev1.KustomizationSpec) {
			s.PostBuild = &kustomizev1.PostBuild{
				Substitute:     map[string]string{"INLINE": "inline"},
				SubstituteFrom: []kustomizev1.SubstituteReference{{Kind: kind, Name: name, Optional: optional}},
			}
		}
	}
	give := func(b *bench) {
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "vars"}, Data: map[string]string{"INLINE": "from-map", "N": "7", "B": "true"}}
		if err := b.Create(b.t.Context(), cm); err != nil {
			b.t.Fatal(err)
		}
	}
	always := kustomizev1.SubstituteStrategyAlways
	return map[string]conformance{
		"InlineWins":  {reason: "What the spec says wins over what it refers to.", before: give, spec: vars("ConfigMap", "vars", false), files: map[string]string{"a.yaml": configMap("a", "${INLINE}")}, steps: []step{{name: "inline", want: has("a", "inline")}}},
		"NumberBool":  {reason: "Numbers and booleans in data stay text.", before: give, spec: vars("ConfigMap", "vars", false), files: map[string]string{"a.yaml": configMap("a", "${N}-${B}")}, steps: []step{{name: "text", want: has("a", "7-true")}}},
		"Optional":    {reason: "An optional reference may be missing.", spec: vars("ConfigMap", "gone", true), files: map[string]string{"a.yaml": configMap("a", "${N:=8}")}, steps: []step{{name: "default", want: has("a", "8")}}},
		"Missing":     {reason: "A required one may not.", spec: vars("ConfigMap", "gone", false), files: map[string]string{"a.yaml": configMap("a", "one")}, ready: "False/BuildFailed"},
		"Strict":      {reason: "A variable without a value is an error.", before: give, spec: vars("ConfigMap", "vars", false), files: map[string]string{"a.yaml": configMap("a", "${TYPO}")}, ready: "False/BuildFailed"},
		"NoVariables": {reason: "Without variables nothing is substituted.", files: map[string]string{"a.yaml": configMap("a", "${N:=8}")}, steps: []step{{name: "as is", want: has("a", "${N:=8}")}}},
		"Always": {reason: "Unless the strategy is Always.", spec: func(s *kustomizev1.KustomizationSpec) {
			s.PostBuild = &kustomizev1.PostBuild{SubstituteStrategy: always}
		}, files: map[string]string{"a.yaml": configMap("a", "${N:=8}")}, steps: []step{{name: "default", want: has("a", "8")}}},
		"SkipAnnotation": {reason: "An object that says so is left as it is.", before: give, spec: vars("ConfigMap", "vars", false), files: map[string]string{"a.yaml": with(configMap("a", "${N}"), "kustomize.toolkit.fluxcd.io/substitute: disabled")}, steps: []step{{name: "as is", want: has("a", "${N}")}}},
	}
}

// gates are a kind whose health only an expression tells.
func gates() string {
	group := "gates.example.org"
	return "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: " + group + "}\nspec:\n  group: example.org\n  scope: Namespaced\n  names: {kind: Gate, plural: gates}\n" +
		"  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]\n"
}

func gate(state string) string {
	return "apiVersion: example.org/v1\nkind: Gate\nmetadata:\n  name: g\nspec: {state: " + state + "}\n"
}

func waitsAsFlux() map[string]conformance {
	crd := gates()
	expr := kustomize.CustomHealthCheck{APIVersion: "example.org/v1", HealthCheckExpressions: kustomize.HealthCheckExpressions{
		Current: "spec.state == 'open'", Failed: "spec.state == 'broken'",
	}}
	return map[string]conformance{
		"HealthCheckExprsGroupOnly": {
			reason: "An expression without a kind is about all kinds of its group.",
			files:  map[string]string{"crd.yaml": crd, "g.yaml": gate("open")},
			spec: func(s *kustomizev1.KustomizationSpec) {
				s.Wait, s.HealthCheckExprs = true, []kustomize.CustomHealthCheck{expr}
			},
			steps: []step{
				{name: "shut", push: map[string]string{"crd.yaml": crd, "g.yaml": gate("shut")}, ready: "Unknown/Progressing"},
				{name: "broken", push: map[string]string{"crd.yaml": crd, "g.yaml": gate("broken")}, ready: "False/HealthCheckFailed"},
				{name: "open", push: map[string]string{"crd.yaml": crd, "g.yaml": gate("open")}},
			},
		},
		"BadExpression": {
			reason: "An expression that does not compile is told, and nothing is tried.",
			files:  map[string]string{"a.yaml": configMap("a", "one")},
			spec: func(s *kustomizev1.KustomizationSpec) {
				s.HealthCheckExprs = []kustomize.CustomHealthCheck{{APIVersion: "v1", HealthCheckExpressions: kustomize.HealthCheckExpressions{Current: "status."}}}
			},
			ready: "False/InvalidCELExpression",
		},
		"WaitIgnoresSkippedObjects": {
			reason: "What is not applied is not waited for.",
			files:  map[string]string{"a.yaml": configMap("a", "one"), "web.yaml": strings.Replace(deployment, "{name: web}", "{name: web, annotations: {"+ssa+": Ignore}}", 1)},
			spec:   func(s *kustomizev1.KustomizationSpec) { s.Wait = true },
		},
		"CancelHealthCheckOnNewRevision": {
			reason: "A new revision ends the wait for the old one.",
			files:  map[string]string{"crd.yaml": crd, "g.yaml": gate("shut")},
			spec: func(s *kustomizev1.KustomizationSpec) {
				s.Wait, s.Timeout, s.HealthCheckExprs = true, &metav1.Duration{Duration: time.Hour}, []kustomize.CustomHealthCheck{expr}
			},
			ready: "Unknown/Progressing",
			steps: []step{{name: "open", push: map[string]string{"crd.yaml": crd, "g.yaml": gate("open")}}},
		},
	}
}

func answersAsFlux() map[string]conformance {
	return map[string]conformance{
		"History": {
			reason: "The status keeps what was applied, and when.",
			files:  map[string]string{"a.yaml": configMap("a", "one")},
			steps: []step{{name: "second", push: map[string]string{"a.yaml": configMap("a", "two")}, want: func(b *bench) bool {
				h := b.ready("app", "True").Status.History
				return len(h) == 2 && h[0].LastReconciledStatus == meta.ReconciliationSucceededReason && h[0].Metadata["revision"] == "main@sha1:second"
			}}},
		},
		"ReconcileRequest": {
			reason: "A request is answered in the status.",
			files:  map[string]string{"a.yaml": configMap("a", "one")},
			steps: []step{{name: "asked", do: func(b *bench) {
				patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"`+meta.ReconcileRequestAnnotation+`":"now"}}}`))
				if err := b.Patch(b.t.Context(), &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "app"}}, patch); err != nil {
					b.t.Fatal(err)
				}
			}, want: func(b *bench) bool { return b.ready("app", "True").Status.LastHandledReconcileAt == "now" }}},
		},
		"Suspend": {
			reason: "A suspended one does nothing.",
			files:  map[string]string{"a.yaml": configMap("a", "one")},
			steps: []step{{name: "suspended", do: func(b *bench) {
				patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"suspend":true}}`))
				if err := b.Patch(b.t.Context(), &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "app"}}, patch); err != nil {
					b.t.Fatal(err)
				}
				time.Sleep(200 * time.Millisecond) // for the controller to see it
				b.push("main@sha1:later", map[string]string{"a.yaml": configMap("a", "two")})
			}, want: stays(has("a", "one"))}},
		},
	}
}

func TestDependsOnReadyExpr(t *testing.T) {
	b := start(t)
	b.push("main@sha1:1", map[string]string{"first/a.yaml": configMap("first", "one"), "second/a.yaml": configMap("second", "one")})
	b.create("first", func(s *kustomizev1.KustomizationSpec) { s.Path = "first" })
	b.create("second", func(s *kustomizev1.KustomizationSpec) {
		s.Path = "second"
		s.DependsOn = []kustomizev1.DependencyReference{{Name: "first", ReadyExpr: "has(dep.metadata.labels) && dep.metadata.labels['gate'] == self.spec.path"}}
	})
	b.ready("first", "True")
	b.ready("second", "False/DependencyNotReady")
	patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"gate":"second"}}}`))
	if err := b.Patch(context.WithoutCancel(t.Context()), &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "first"}}, patch); err != nil {
		t.Fatal(err)
	}
	b.ready("second", "True")
}
