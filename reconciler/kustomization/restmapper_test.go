package kustomization_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/reconciler/apply"
)

// wheels is a kind that a test changes while it is in use.
type wheels struct {
	*bench
	group string
}

func (w wheels) definition(plural, scope string, served ...string) *unstructured.Unstructured {
	versions := make([]any, 0, len(served))
	for i, v := range served {
		versions = append(versions, map[string]any{"name": v, "served": true, "storage": i == len(served)-1,
			"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}}})
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": plural + "." + w.group},
		"spec": map[string]any{"group": w.group, "scope": scope, "names": map[string]any{"kind": "Wheel", "plural": plural}, "versions": versions},
	}}
}

// serve makes a definition and waits until the kind is served.
func (w wheels) serve(crd *unstructured.Unstructured) {
	w.t.Helper()
	if err := w.Create(w.t.Context(), crd); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := w.Delete(context.WithoutCancel(w.t.Context()), crd); client.IgnoreNotFound(err) != nil {
			w.t.Error(err)
		}
	})
	version, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	eventually(w.t, 20*time.Second, "the kind to be served", func() bool {
		_, err := w.live(version[len(version)-1].(map[string]any)["name"].(string), "none")
		return apierrors.IsNotFound(err)
	})
}

// only makes a definition serve another version alone, and forget the old one.
func (w wheels) only(plural, version string) {
	w.t.Helper()
	crd := w.definition(plural, "Namespaced", version)
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(crd.GroupVersionKind())
	if err := w.Get(w.t.Context(), client.ObjectKeyFromObject(crd), live); err != nil {
		w.t.Fatal(err)
	}
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	stored, _, _ := unstructured.NestedSlice(live.Object, "spec", "versions")
	old := stored[0].(map[string]any)
	old["served"], old["storage"] = false, false
	_ = unstructured.SetNestedSlice(live.Object, append(versions, old), "spec", "versions") // a map of strings and slices
	if err := w.Update(w.t.Context(), live); err != nil {
		w.t.Fatal(err)
	}
	eventually(w.t, 20*time.Second, "the other version to be served alone", func() bool {
		_, there := w.live(version, "none")
		_, gone := w.live(old["name"].(string), "none")
		return apierrors.IsNotFound(there) && strings.Contains(there.Error(), `"none"`) && gone != nil && !strings.Contains(gone.Error(), `"none"`)
	})
}

// live reads a Wheel by a client that knows nothing from before.
func (w wheels) live(version, name string) (*unstructured.Unstructured, error) {
	fresh, err := client.New(cluster.Get(w.t).RestConfig(), client.Options{})
	if err != nil {
		return nil, err
	}
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(schema.GroupVersionKind{Group: w.group, Version: version, Kind: "Wheel"})
	return o, fresh.Get(w.t.Context(), client.ObjectKey{Namespace: w.ns, Name: name}, o)
}

func (w wheels) manifest(version, name string) string {
	return "apiVersion: " + w.group + "/" + version + "\nkind: Wheel\nmetadata: {name: " + name + "}\nspec: {size: 1}\n"
}

func withWheels(t *testing.T) wheels {
	t.Helper()
	b := start(t)
	return wheels{b, b.ns + ".example.org"}
}

// retryFast comes back soon after a failure.
func retryFast(s *kustomizev1.KustomizationSpec) {
	s.RetryInterval = &metav1.Duration{Duration: 300 * time.Millisecond}
}

// TestVersionServedNoLonger: an object leaves Git in the same revision in
// which its kind's version has gone. It is deleted in the version that is
// left, not forgotten.
func TestVersionServedNoLonger(t *testing.T) {
	w := withWheels(t)
	w.serve(w.definition("wheels", "Namespaced", "v1"))
	w.push("main@sha1:1", map[string]string{"a.yaml": configMap("a", "one"), "x.yaml": w.manifest("v1", "x"), "y.yaml": w.manifest("v1", "y")})
	w.create("app", retryFast)
	w.ready("app", "True")
	w.only("wheels", "v2")
	w.push("main@sha1:2", map[string]string{"a.yaml": configMap("a", "one"), "y.yaml": w.manifest("v2", "y")})
	w.ready("app", "True/ReconciliationSucceeded/Applied revision: main@sha1:2")
	eventually(t, 5*time.Second, "the object that left Git to be gone", func() bool {
		_, err := w.live("v2", "x")
		return apierrors.IsNotFound(err)
	})
	if y, err := w.live("v2", "y"); err != nil || y.GetLabels()[apply.OwnerName] != "app" {
		t.Errorf("the object that stayed: %v, labels %v", err, y.GetLabels())
	}
}

// TestVersionInGitServedNoLonger: Git still has the old version. The message
// names it, and nothing is lost.
func TestVersionInGitServedNoLonger(t *testing.T) {
	w := withWheels(t)
	w.serve(w.definition("wheels", "Namespaced", "v1"))
	w.push("main@sha1:1", map[string]string{"a.yaml": configMap("a", "one"), "x.yaml": w.manifest("v1", "x")})
	w.create("app", retryFast)
	w.ready("app", "True")
	w.only("wheels", "v2")
	w.push("main@sha1:2", map[string]string{"a.yaml": configMap("a", "two"), "x.yaml": strings.Replace(w.manifest("v1", "x"), "1}", "2}", 1)})
	w.says("app", "False/ReconciliationFailed", "version v1")
	if cm, err := w.configMap("a"); err != nil || cm.Data["key"] != "two" {
		t.Error("the other object of the revision was not applied")
	}
	if _, err := w.live("v2", "x"); err != nil {
		t.Errorf("the object: %v, want it as it was", err)
	}
	w.push("main@sha1:3", map[string]string{"a.yaml": configMap("a", "two"), "x.yaml": strings.Replace(w.manifest("v2", "x"), "1}", "3}", 1)})
	w.ready("app", "True/ReconciliationSucceeded/Applied revision: main@sha1:3")
	if x, err := w.live("v2", "x"); err != nil || x.Object["spec"].(map[string]any)["size"] != int64(3) {
		t.Errorf("in the new version: %v, %v", x.Object["spec"], err)
	}
}

// TestDefinitionComesAgain: the definition is deleted, and comes again with
// another plural and scope. What Git has of the kind is there again.
func TestDefinitionComesAgain(t *testing.T) {
	w := withWheels(t)
	first := w.definition("wheels", "Namespaced", "v1")
	w.serve(first)
	w.push("main@sha1:1", map[string]string{"x.yaml": w.manifest("v1", "x")})
	w.create("app", retryFast)
	w.ready("app", "True")
	if err := w.Delete(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "the kind to be missed", func() bool {
		return strings.Contains(message(w.ready("app", "False/ReconciliationFailed")), "does not know this kind")
	})
	w.serve(w.definition("rounds", "Namespaced", "v1"))
	w.ready("app", "True")
	eventually(t, 20*time.Second, "the object to be there again", func() bool { _, err := w.live("v1", "x"); return err == nil })
	w.push("main@sha1:2", map[string]string{"a.yaml": configMap("a", "one")})
	w.ready("app", "True/ReconciliationSucceeded/Applied revision: main@sha1:2")
	eventually(t, 5*time.Second, "it to be pruned where it is served now", func() bool { _, err := w.live("v1", "x"); return apierrors.IsNotFound(err) })
}

// TestGroupGoesDown: a group whose objects are there stops to answer while one
// of them leaves Git. It stays, and in the inventory, until it can be deleted.
func TestGroupGoesDown(t *testing.T) {
	w := withWheels(t)
	w.serve(w.definition("wheels", "Namespaced", "v1"))
	w.push("main@sha1:1", map[string]string{"a.yaml": configMap("a", "one"), "x.yaml": w.manifest("v1", "x")})
	w.create("app", retryFast)
	w.ready("app", "True")
	w.answers(false)
	w.push("main@sha1:2", map[string]string{"a.yaml": configMap("a", "two")})
	ks := w.ready("app", "False/PruneFailed")
	if n := len(ks.Status.Inventory.Entries); n != 2 || !has("a", "two")(w.bench) {
		t.Errorf("inventory: %d entries, want 2; the other object applied: %t", n, has("a", "two")(w.bench))
	}
	w.answers(true)
	if _, err := w.live("v1", "x"); err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	w.ready("app", "True/ReconciliationSucceeded/Applied revision: main@sha1:2")
	eventually(t, 5*time.Second, "it to be pruned now", func() bool { _, err := w.live("v1", "x"); return apierrors.IsNotFound(err) })
}

// answers has the group answered by the API server, or by a Service that is
// not there.
func (w wheels) answers(yes bool) {
	w.t.Helper()
	service := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": map[string]any{"name": "v1." + w.group}}}
	eventually(w.t, 10*time.Second, "the APIService to be changed", func() bool {
		if yes {
			return w.Delete(w.t.Context(), service) == nil // the API server makes its own again
		}
		if err := w.Get(w.t.Context(), client.ObjectKeyFromObject(service), service); err != nil {
			return false
		}
		service.SetLabels(nil) // or the API server puts it back
		service.Object["spec"] = map[string]any{
			"group": w.group, "version": "v1", "groupPriorityMinimum": int64(1000), "versionPriority": int64(100),
			"service": map[string]any{"namespace": w.ns, "name": "nobody"}, "insecureSkipTLSVerify": true,
		}
		return w.Update(w.t.Context(), service) == nil
	})
	last := ""
	eventually(w.t, 20*time.Second, "the group to answer or not", func() bool {
		_, err := w.live("v1", "x")
		last = fmt.Sprint(err)
		return yes == (err == nil || apierrors.IsNotFound(err) && strings.Contains(err.Error(), `"x"`))
	}, &last)
}
