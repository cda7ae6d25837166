package kustomization_test

import (
	"strings"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestHealth(t *testing.T) {
	b := start(t)
	b.push("main@sha1:1", map[string]string{"web/web.yaml": deployment})
	b.create("web", func(s *kustomizev1.KustomizationSpec) { s.Path, s.Wait = "web", true })
	ks := b.ready("web", "True/ReconciliationSucceeded")
	d := &appsv1.Deployment{}
	if err := b.Get(t.Context(), client.ObjectKey{Namespace: b.ns, Name: "web"}, d); err != nil || d.Status.AvailableReplicas != 1 {
		t.Errorf("Ready before the Deployment is Available: %v, %v", d.Status, err)
	}
	if c := apimeta.FindStatusCondition(ks.Status.Conditions, meta.HealthyCondition); c == nil || c.Status != metav1.ConditionTrue {
		t.Errorf("Healthy: got %v, want True", c)
	}

	t.Run("NeverHealthy", func(t *testing.T) {
		b.push("main@sha1:2", map[string]string{"web/web.yaml": strings.Replace(deployment, "{containers:", "{nodeSelector: {no: such-node}, containers:", 1)})
		// A pod that no node takes keeps the rollout from ending.
		ks := b.ready("web", "Unknown/Progressing")
		if !strings.Contains(message(ks), "main@sha1:2") {
			t.Errorf("message: %s", message(ks))
		}
		if ks.Status.LastAppliedRevision != "main@sha1:1" {
			t.Errorf("lastAppliedRevision: got %s, want that of the last success", ks.Status.LastAppliedRevision)
		}
	})
	t.Run("NewRevisionEndsTheWait", func(t *testing.T) {
		b.push("main@sha1:3", map[string]string{"web/web.yaml": deployment})
		b.ready("web", "True/ReconciliationSucceeded/Applied revision: main@sha1:3")
	})
	t.Run("HealthCheckOfAnother", func(t *testing.T) {
		b.create("cm", func(s *kustomizev1.KustomizationSpec) {
			s.Path = "cm"
			s.HealthChecks = []meta.NamespacedObjectKindReference{{APIVersion: "v1", Kind: "ConfigMap", Namespace: b.ns, Name: "made-by-someone"}}
		})
		b.push("main@sha1:4", map[string]string{"web/web.yaml": deployment, "cm/a.yaml": configMap("a", "one")})
		b.ready("cm", "Unknown/Progressing")
		if err := b.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "made-by-someone"}}); err != nil {
			t.Fatal(err)
		}
		b.ready("cm", "True/ReconciliationSucceeded")
	})
}

func TestDependsOn(t *testing.T) {
	b := start(t)
	b.push("main@sha1:1", map[string]string{"first/web.yaml": deployment, "second/a.yaml": configMap("second", "one")})
	b.create("second", func(s *kustomizev1.KustomizationSpec) {
		s.Path, s.DependsOn = "second", []kustomizev1.DependencyReference{{Name: "first"}}
	})
	ks := b.ready("second", "False/DependencyNotReady")
	if !strings.Contains(message(ks), b.ns+"/first does not exist") {
		t.Errorf("message: %s", message(ks))
	}
	b.create("first", func(s *kustomizev1.KustomizationSpec) { s.Path, s.Wait = "first", true })
	b.ready("first", "True")
	ready := time.Now()
	b.ready("second", "True")
	if d := time.Since(ready); d > time.Second {
		t.Errorf("the dependent was ready %s after its dependency, want under 1s", d)
	}
}

// widgets is the definition of a kind of its own for each test.
func widgets(group string) string {
	return `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.` + group + `}
spec:
  group: ` + group + `
  scope: Namespaced
  names: {kind: Widget, plural: widgets}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`
}

func widget(group string) string {
	return "apiVersion: " + group + "/v1\nkind: Widget\nmetadata: {name: one}\nspec: {size: 3}\n"
}

func TestDefinitionsAndTheirObjectsInOneRevision(t *testing.T) {
	b := start(t)
	group := b.ns + ".example.org"
	b.push("main@sha1:1", map[string]string{"crd.yaml": widgets(group), "widget.yaml": widget(group)})
	b.create("widgets", func(s *kustomizev1.KustomizationSpec) { s.Wait = true })
	ks := b.ready("widgets", "True/ReconciliationSucceeded")
	if n := len(ks.Status.Inventory.Entries); n != 2 {
		t.Errorf("inventory: %d entries, want 2", n)
	}
}

// TestHealthCheckOfAKindThatComesLater waits for an object whose kind nobody
// can watch when the wait begins.
func TestHealthCheckOfAKindThatComesLater(t *testing.T) {
	b := start(t)
	group := b.ns + ".example.org"
	b.push("main@sha1:1", map[string]string{"app/a.yaml": configMap("a", "one"), "widgets/crd.yaml": widgets(group), "widgets/widget.yaml": widget(group)})
	b.create("app", func(s *kustomizev1.KustomizationSpec) {
		s.Path = "app"
		s.HealthChecks = []meta.NamespacedObjectKindReference{{APIVersion: group + "/v1", Kind: "Widget", Namespace: b.ns, Name: "one"}}
	})
	b.ready("app", "Unknown/Progressing")
	b.create("widgets", func(s *kustomizev1.KustomizationSpec) { s.Path = "widgets" })
	b.ready("widgets", "True/ReconciliationSucceeded")
	b.ready("app", "True/ReconciliationSucceeded")
}
