package kustomization_test

import (
	"strings"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/kustomize"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func job(image string) string {
	return "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: once\nspec:\n  template:\n    spec: {restartPolicy: Never, containers: [{name: c, image: " + image + "}]}\n"
}

// jobs remembers the UID of the Job, to see whether it is another one later.
type jobs struct{ was types.UID }

func (j *jobs) read(b *bench) types.UID {
	b.t.Helper()
	var live batchv1.Job
	if err := b.Get(b.t.Context(), client.ObjectKey{Namespace: b.ns, Name: "once"}, &live); client.IgnoreNotFound(err) != nil {
		b.t.Fatal(err)
	}
	return live.UID
}

func (j *jobs) remember(b *bench)     { j.was = j.read(b) }
func (j *jobs) another(b *bench) bool { now := j.read(b); return now != "" && now != j.was }
func (j *jobs) same(b *bench) bool    { return j.was != "" && j.read(b) == j.was }

func runsImage(image string) func(*bench) bool {
	return func(b *bench) bool {
		var web appsv1.Deployment
		err := b.Get(b.t.Context(), client.ObjectKey{Namespace: b.ns, Name: "web"}, &web)
		return err == nil && web.Spec.Template.Spec.Containers[0].Image == image
	}
}

func hasExtra(b *bench) bool {
	cm, err := b.configMap("a")
	return err == nil && cm.Data["extra"] == "theirs"
}

func appliesAsFlux() map[string]conformance {
	var bySpec, byAnnotation jobs
	return map[string]conformance{
		"RoleAndRoleBinding": {
			reason: "A Role and what binds it come in one revision.",
			files: map[string]string{
				"b.yaml": "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: r}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: r}\nsubjects: [{kind: ServiceAccount, name: default, namespace: default}]\n",
				"r.yaml": "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: r}\nrules: [{apiGroups: [''], resources: [pods], verbs: [get]}]\n",
			},
		},
		"ForceBySpec": {
			reason: "What cannot be changed is made anew with spec.force.",
			files:  map[string]string{"j.yaml": job("example.org/a:1")},
			spec:   func(s *kustomizev1.KustomizationSpec) { s.Force = true },
			steps:  []step{{name: "second", do: bySpec.remember, push: map[string]string{"j.yaml": job("example.org/a:2")}, want: bySpec.another}},
		},
		"ForceByAnnotation": {
			reason: "And with the annotation on the object.",
			files:  map[string]string{"j.yaml": job("example.org/a:1")},
			steps: []step{
				{name: "refused", do: byAnnotation.remember, push: map[string]string{"j.yaml": job("example.org/a:2")}, ready: "False/ReconciliationFailed", want: byAnnotation.same},
				{name: "forced", push: map[string]string{"j.yaml": with(job("example.org/a:2"), "kustomize.toolkit.fluxcd.io/force: enabled")}, want: byAnnotation.another},
			},
		},
		"Validation": {
			reason: "What the API server refuses is told, and put right by the next revision.",
			files:  map[string]string{"a.yaml": strings.Replace(configMap("a", "one"), "data:\n  key: one", "data: 7", 1)},
			ready:  "False/ReconciliationFailed",
			steps:  []step{{name: "fixed", push: map[string]string{"a.yaml": configMap("a", "one")}, want: has("a", "one")}},
		},
		"ConfigurationError": {
			reason: "What does not build is told, and put right by the next revision.",
			files:  map[string]string{"a.yaml": "a: [b\n"},
			ready:  "False/BuildFailed",
			steps:  []step{{name: "fixed", push: map[string]string{"a.yaml": configMap("a", "one")}, want: has("a", "one")}},
		},
	}
}

func sharesAsFlux() map[string]conformance {
	return map[string]conformance{
		"KubectlHandsOver": {
			reason: "What kubectl had set and Git does not goes.",
			before: createConfigMap("a", "kubectl-client-side-apply", "theirs"),
			files:  map[string]string{"a.yaml": configMap("a", "ours")},
			steps: []step{{name: "is ours", want: func(b *bench) bool { return has("a", "ours")(b) && !hasExtra(b) }},
				{name: "edit by kubectl", do: edit("a", "kubectl-edit", func(cm *corev1.ConfigMap) { cm.Data["extra"] = "theirs" }), want: func(b *bench) bool { return !hasExtra(b) }}},
		},
		"HelmHandsOver": {
			reason: "And so for Helm.",
			before: createConfigMap("a", "helm", "theirs"),
			files:  map[string]string{"a.yaml": configMap("a", "ours")},
			steps:  []step{{name: "is ours", want: func(b *bench) bool { return has("a", "ours")(b) && !hasExtra(b) }}},
		},
		"OthersKeepTheirs": {
			reason: "A field of a manager that is neither stays.",
			before: createConfigMap("a", "flux-client-side-apply", "theirs"),
			files:  map[string]string{"a.yaml": configMap("a", "ours")},
			steps:  []step{{name: "both", want: func(b *bench) bool { return has("a", "ours")(b) && hasExtra(b) }}},
		},
		"Merge": {
			reason: "With ssa: Merge even kubectl keeps its fields.",
			before: createConfigMap("a", "kubectl-client-side-apply", "theirs"),
			files:  map[string]string{"a.yaml": with(configMap("a", "ours"), ssa+": Merge")},
			steps:  []step{{name: "both", want: stays(func(b *bench) bool { return has("a", "ours")(b) && hasExtra(b) })}},
		},
		"IfNotPresent": {
			reason: "With ssa: IfNotPresent what is there is left as it is.",
			before: createConfigMap("a", "someone", "theirs"),
			files:  map[string]string{"a.yaml": with(configMap("a", "ours"), ssa+": IfNotPresent"), "b.yaml": with(configMap("b", "ours"), ssa+": IfNotPresent")},
			steps: []step{
				{name: "created", want: func(b *bench) bool { return has("a", "theirs")(b) && has("b", "ours")(b) }},
				{name: "edited", do: edit("b", "someone", setKey("edited")), want: stays(has("b", "edited"))},
			},
		},
		"IgnoreDesired": {
			reason: "With ssa: Ignore in Git nothing is applied.",
			files:  map[string]string{"a.yaml": with(configMap("a", "ours"), ssa+": Ignore"), "b.yaml": configMap("b", "ours")},
			steps:  []step{{name: "not there", want: func(b *bench) bool { return b.gone("a") && has("b", "ours")(b) }}},
		},
	}
}

func leavesAsFlux() map[string]conformance {
	return map[string]conformance{
		"ReconcileDisabledLive": {
			reason: "A live object that says so is left alone, and put right when it no longer does.",
			files:  map[string]string{"a.yaml": configMap("a", "ours")},
			steps: []step{
				{name: "paused", do: edit("a", "someone", func(cm *corev1.ConfigMap) {
					annotate("kustomize.toolkit.fluxcd.io/reconcile", "disabled")(cm)
					setKey("edited")(cm)
				}), want: stays(has("a", "edited"))},
				{name: "resumed", do: edit("a", "someone", func(cm *corev1.ConfigMap) { delete(cm.Annotations, "kustomize.toolkit.fluxcd.io/reconcile") }), want: has("a", "ours")},
			},
		},
		"DriftIgnoreRules": {
			reason: "A field that spec.ignore names belongs to whoever writes it.",
			files:  map[string]string{"a.yaml": configMap("a", "ours"), "b.yaml": configMap("b", "ours")},
			spec: func(s *kustomizev1.KustomizationSpec) {
				s.Ignore = []kustomizev1.IgnoreRule{{Paths: []string{"/data/key"}, Target: &kustomize.Selector{Kind: "ConfigMap", Name: "a"}}}
			},
			steps: []step{
				{name: "ignored", do: edit("a", "someone", setKey("edited")), want: stays(has("a", "edited"))},
				{name: "not ignored", do: edit("b", "someone", setKey("edited")), want: has("b", "ours")},
				{name: "second", push: map[string]string{"a.yaml": with(configMap("a", "ours"), "x: y"), "b.yaml": configMap("b", "two")}, want: func(b *bench) bool {
					cm, err := b.configMap("a")
					return err == nil && cm.Data["key"] == "edited" && cm.Annotations["x"] == "y"
				}},
			},
		},
	}
}

func buildsAsFlux() map[string]conformance {
	return map[string]conformance{
		"CommonMetadata": {
			reason: "Common labels and annotations win over those of the files.",
			files:  map[string]string{"a.yaml": with(configMap("a", "one"), "team: file")},
			spec: func(s *kustomizev1.KustomizationSpec) {
				s.CommonMetadata = &kustomizev1.CommonMetadata{Labels: map[string]string{"app": "x"}, Annotations: map[string]string{"team": "spec"}}
			},
			steps: []step{{name: "set", want: func(b *bench) bool {
				cm, err := b.configMap("a")
				return err == nil && cm.Labels["app"] == "x" && cm.Annotations["team"] == "spec"
			}}},
		},
		"NamePrefixSuffix": {
			reason: "Names are changed.",
			files:  map[string]string{"a.yaml": configMap("a", "one")},
			spec:   func(s *kustomizev1.KustomizationSpec) { s.NamePrefix, s.NameSuffix = "pre-", "-suf" },
			steps:  []step{{name: "renamed", want: there("pre-a-suf")}},
		},
		"BuildMetadata": {
			reason: "The origin of an object is noted on it.",
			files:  map[string]string{"a.yaml": configMap("a", "one")},
			spec: func(s *kustomizev1.KustomizationSpec) {
				s.BuildMetadata = []kustomizev1.BuildMetadataOption{kustomizev1.BuildMetadataOriginAnnotations}
			},
			steps: []step{{name: "noted", want: func(b *bench) bool {
				cm, err := b.configMap("a")
				return err == nil && strings.Contains(cm.Annotations["config.kubernetes.io/origin"], "a.yaml")
			}}},
		},
	}
}

func changesAsFlux() map[string]conformance {
	return map[string]conformance{
		"MultiplePatchDelete": {
			reason: "Patches take objects out.",
			files:  map[string]string{"a.yaml": configMap("a", "one") + "---\n" + configMap("b", "one") + "---\n" + configMap("c", "one")},
			spec: func(s *kustomizev1.KustomizationSpec) {
				for _, n := range []string{"a", "b"} {
					s.Patches = append(s.Patches, kustomize.Patch{Patch: "$patch: delete\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + n + "}\n"})
				}
			},
			steps: []step{{name: "out", want: func(b *bench) bool { return there("c")(b) && b.gone("a") && b.gone("b") }}},
		},
		"Images": {
			reason: "Images are changed.",
			files:  map[string]string{"web.yaml": deployment},
			spec: func(s *kustomizev1.KustomizationSpec) {
				s.Images = []kustomize.Image{{Name: "example.org/web", NewName: "example.org/other", NewTag: "2"}}
			},
			steps: []step{{name: "changed", want: runsImage("example.org/other:2")}},
		},
		"MissingComponents": {
			reason: "A component that is not there may be left out.",
			files:  map[string]string{"a.yaml": configMap("a", "one")},
			spec: func(s *kustomizev1.KustomizationSpec) {
				s.Components, s.IgnoreMissingComponents = []string{"gone"}, true
			},
			steps: []step{{name: "applied", want: there("a")}},
		},
		"Transformers": {
			reason: "What a kustomization transforms stays so.",
			files:  map[string]string{"kustomization.yaml": "resources: [a.yaml]\ntransformers: [t.yaml]\n", "a.yaml": configMap("a", "one"), "t.yaml": "apiVersion: builtin\nkind: LabelTransformer\nmetadata: {name: t}\nlabels: {team: a}\nfieldSpecs: [{path: metadata/labels, create: true}]\n"},
			steps:  []step{{name: "set", want: func(b *bench) bool { cm, err := b.configMap("a"); return err == nil && cm.Labels["team"] == "a" }}},
		},
	}
}
