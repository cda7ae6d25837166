package kustomization_test

import (
	"path"
	"strings"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestBadInput(t *testing.T) {
	b := start(t)
	good := map[string]string{"app/a.yaml": configMap("kept", "one")}
	b.push("main@sha1:1", good)
	b.create("app", func(s *kustomizev1.KustomizationSpec) { s.Path = "app" })
	b.ready("app", "True")

	cases := []struct {
		name   string
		files  map[string]string
		reason string
		want   string
	}{
		{"PathGone", map[string]string{"else/a.yaml": configMap("kept", "two")}, "ArtifactFailed", `path "app"`},
		{"BadYAML", map[string]string{"app/a.yaml": "a: [b\n"}, "BuildFailed", "a.yaml"},
		{"DoesNotBuild", map[string]string{"app/kustomization.yaml": "resources: [gone.yaml]\n"}, "BuildFailed", "gone.yaml"},
		{"Refused", map[string]string{"app/a.yaml": strings.Replace(configMap("kept", "two"), "data:\n  key: two", "data: 7", 1)}, "ReconciliationFailed", "ConfigMap/" + b.ns + "/kept"},
		{"NoSuchKind", map[string]string{"app/a.yaml": configMap("kept", "one"), "app/b.yaml": "apiVersion: no.such/v1\nkind: Thing\nmetadata: {name: x}\n"}, "ReconciliationFailed", "Thing"},
		{"RemoteBase", map[string]string{"app/kustomization.yaml": "resources: [https://example.org/a.yaml]\n"}, "BuildFailed", "remote bases are off"},
	}
	for i, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			b.push("main@sha1:bad"+tc.name, tc.files)
			ks := b.ready("app", "False/"+tc.reason)
			if !strings.Contains(message(ks), tc.want) {
				t.Errorf("message: got %s, want it to name %s", message(ks), tc.want)
			}
			if cm, err := b.configMap("kept"); err != nil || cm.Data["key"] != "one" {
				t.Errorf("what worked was changed: %v, %v", cm.Data, err)
			}
			fixed := "main@sha1:fixed" + path.Join(tc.name, strings.Repeat("x", i))
			b.push(fixed, good)
			b.ready("app", "True/ReconciliationSucceeded/Applied revision: "+fixed)
		})
	}
	t.Run("CrossNamespace", func(t *testing.T) {
		b.create("thief", func(s *kustomizev1.KustomizationSpec) { s.SourceRef.Namespace = "kube-system" })
		ks := b.ready("thief", "False/ArtifactFailed")
		if !strings.Contains(message(ks), "--allow-cross-namespace-refs") {
			t.Errorf("message: %s", message(ks))
		}
	})
	t.Run("Forbidden", func(t *testing.T) {
		b.push("main@sha1:tenant", map[string]string{"app/a.yaml": configMap("kept", "one"), "tenant/a.yaml": configMap("theirs", "one")})
		b.create("tenant", func(s *kustomizev1.KustomizationSpec) { s.Path, s.ServiceAccountName = "tenant", "nobody" })
		ks := b.ready("tenant", "False/ReconciliationFailed")
		if !strings.Contains(message(ks), "system:serviceaccount:"+b.ns+":nobody") {
			t.Errorf("message: %s", message(ks))
		}
	})
}

func TestEachFailureIsToldOnce(t *testing.T) {
	b := start(t)
	b.push("main@sha1:1", map[string]string{"a.yaml": "a: [b\n"})
	b.create("app", func(s *kustomizev1.KustomizationSpec) {
		s.RetryInterval = &metav1.Duration{Duration: 200 * time.Millisecond}
	})
	b.ready("app", "False/BuildFailed")
	time.Sleep(2 * time.Second) // about ten more tries
	var events corev1.EventList
	if err := b.List(t.Context(), &events, client.InNamespace(b.ns)); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range events.Items {
		if e.InvolvedObject.Name == "app" && e.Reason == meta.BuildFailedReason {
			n += int(max(e.Count, 1))
		}
	}
	if n != 1 {
		t.Errorf("BuildFailed was told %d times, want once", n)
	}
}
