package kustomization_test

import (
	"strings"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestShortValuesAreHidden has the API server refuse fields whose values come
// from a Secret and are too short to be looked for everywhere.
func TestShortValuesAreHidden(t *testing.T) {
	const port, kind = "70123", "Oops"
	b := start(t)
	if err := b.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "vars"}, StringData: map[string]string{"PORT": port, "KIND": kind}}); err != nil {
		t.Fatal(err)
	}
	service := func(kind, port string) map[string]string {
		return map[string]string{"s.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n  type: " + kind + "\n  ports:\n  - port: " + port + "\n"}
	}
	b.push("main@sha1:1", service("ClusterIP", "${PORT}"))
	b.create("app", func(s *kustomizev1.KustomizationSpec) {
		retryFast(s)
		s.PostBuild = &kustomizev1.PostBuild{SubstituteFrom: []kustomizev1.SubstituteReference{{Kind: "Secret", Name: "vars"}}}
	})
	b.says("app", "False/ReconciliationFailed", "spec.ports[0].port", "Invalid value: [secret]:")
	b.push("main@sha1:2", service("${KIND}", "80"))
	for _, text := range []string{"Unsupported value", `"[secret]"`} {
		eventually(t, 20*time.Second, "the message to name "+text, func() bool {
			return strings.Contains(message(b.ready("app", "False/ReconciliationFailed")), text)
		})
	}
	var events corev1.EventList
	if err := b.List(t.Context(), &events); err != nil || len(events.Items) == 0 {
		t.Fatalf("events: %d, %v", len(events.Items), err)
	}
	texts := []string{message(b.ready("app", "False"))}
	for _, e := range events.Items {
		if e.Namespace == b.ns {
			texts = append(texts, e.Message)
		}
	}
	for _, text := range texts {
		if strings.Contains(text, port) || strings.Contains(text, kind) {
			t.Errorf("a value of the Secret is told: %s", text)
		}
	}
}
