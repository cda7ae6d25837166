package kustomization_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/reconciler/apply"
)

// applyConfigMap makes a ConfigMap by server-side apply, as another would.
func applyConfigMap(name, manager string) func(*bench) {
	return func(b *bench) {
		b.t.Helper()
		cm := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"namespace": b.ns, "name": name},
			"data": map[string]any{"key": "theirs", "extra": "theirs"},
		}}
		if err := b.Apply(b.t.Context(), client.ApplyConfigurationFromUnstructured(cm), client.FieldOwner(manager), client.ForceOwnership); err != nil {
			b.t.Fatal(err)
		}
	}
}

// TestHandover takes over what others had applied: what Git does not have goes
// at once, what it has no more goes later, and nobody else owns a field of it.
func TestHandover(t *testing.T) {
	for name, before := range map[string]func(*bench){
		"KubectlServerSide": applyConfigMap("a", "kubectl"),
		"KubectlClientSide": createConfigMap("a", "kubectl-client-side-apply", "theirs"),
		"Helm4ServerSide":   applyConfigMap("a", "helm"),
		"Helm3":             createConfigMap("a", "helm", "theirs"),
		"FluxServerSide":    applyConfigMap("a", apply.FieldManager),
		"FluxBefore0.18":    createConfigMap("a", apply.FieldManager, "theirs"),
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t)
			before(b)
			two := strings.Replace(configMap("a", "ours"), "  key: ours", "  key: ours\n  second: ours", 1)
			b.push("main@sha1:1", map[string]string{"a.yaml": two})
			b.create("app", nil)
			b.ready("app", "True")
			cm, err := b.configMap("a")
			if err != nil || cm.Data["key"] != "ours" || cm.Data["second"] != "ours" || hasExtra(b) {
				t.Fatalf("got %v, %v, want what Git has and no more", cm.Data, err)
			}
			if i := slices.IndexFunc(cm.ManagedFields, func(f metav1.ManagedFieldsEntry) bool {
				return f.Manager != apply.FieldManager || f.Operation != metav1.ManagedFieldsOperationApply
			}); i >= 0 {
				t.Errorf("%s still owns fields by %s", cm.ManagedFields[i].Manager, cm.ManagedFields[i].Operation)
			}
			b.push("main@sha1:2", map[string]string{"a.yaml": configMap("a", "ours")})
			b.ready("app", "True/ReconciliationSucceeded/Applied revision: main@sha1:2")
			if cm, err := b.configMap("a"); err != nil || len(cm.Data) != 1 {
				t.Errorf("after the field left Git: got %v, %v", cm.Data, err)
			}
		})
	}
}

// TestDriftWhileSourceIsDown puts an edit right from what is known, and tells
// who made it, while nothing can be fetched.
func TestDriftWhileSourceIsDown(t *testing.T) {
	b := start(t)
	b.push("main@sha1:1", map[string]string{"a.yaml": configMap("a", "ours")})
	b.create("app", nil)
	b.ready("app", "True")
	b.store.Fail("GitRepository", b.ns, "repo", errors.New("the server does not answer"))
	edit("a", "somebody", setKey("theirs"))(b)
	eventually(t, 5*time.Second, "the edit to be put right", func() bool { return has("a", "ours")(b) })
	eventually(t, 5*time.Second, "an Event that names who it was", func() bool {
		return slices.ContainsFunc(b.events("DriftCorrected"), func(m string) bool { return strings.Contains(m, "was changed by somebody") })
	})
	if err := b.Delete(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "a"}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "it to be made again", func() bool { return has("a", "ours")(b) })
}

// TestDisallowedManagers has two managers edit an object: one whose fields the
// platform owner wants taken over, and one that keeps what is not ours.
func TestDisallowedManagers(t *testing.T) {
	b := start(t, func(b *bench) { b.ctrl.Clients.Override = apply.Managers{"robot"} })
	b.push("main@sha1:1", map[string]string{"a.yaml": configMap("a", "ours"), "b.yaml": configMap("b", "ours")})
	b.create("app", nil)
	b.ready("app", "True")
	change := func(cm *corev1.ConfigMap) { cm.Data["key"], cm.Data["extra"] = "edited", "theirs" }
	for name, tc := range map[string]struct {
		object, manager string
		keeps           bool
	}{
		"Listed":    {object: "a", manager: "robot-edit"},
		"NotListed": {object: "b", manager: "someone", keeps: true},
	} {
		t.Run(name, func(t *testing.T) {
			edit(tc.object, tc.manager, change)(b)
			right := func() bool {
				cm, err := b.configMap(tc.object)
				return err == nil && cm.Data["key"] == "ours" && (cm.Data["extra"] == "theirs") == tc.keeps
			}
			eventually(t, 30*time.Second, "the edit to be put right", right)
			b.settled()
			if !right() {
				t.Error("it did not stay so")
			}
			cm, err := b.configMap(tc.object)
			if err != nil {
				t.Fatal(err)
			}
			manages := slices.ContainsFunc(cm.ManagedFields, func(f metav1.ManagedFieldsEntry) bool { return f.Manager == tc.manager })
			if manages != tc.keeps {
				t.Errorf("%s manages fields: got %t, want %t", tc.manager, manages, tc.keeps)
			}
		})
	}
}
