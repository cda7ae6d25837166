package kustomization_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	admission "k8s.io/api/admission/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/reconciler/source"
)

// webhook asks an HTTPS server of the test about the ConfigMaps of b's
// namespace that are called bad-*.
func (b *bench) webhook(name string, seconds int32, serve http.HandlerFunc) {
	b.t.Helper()
	server := httptest.NewTLSServer(serve)
	b.t.Cleanup(server.Close)
	url, fail, none := server.URL, admissionv1.Fail, admissionv1.SideEffectClassNone
	hook := &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: b.ns + "-" + name},
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name: name + ".example.com", ClientConfig: admissionv1.WebhookClientConfig{URL: &url, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})},
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
				Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
			}},
			FailurePolicy: &fail, SideEffects: &none, AdmissionReviewVersions: []string{"v1"}, TimeoutSeconds: &seconds,
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": b.ns}},
			ObjectSelector:    &metav1.LabelSelector{MatchLabels: map[string]string{"asked": "yes"}},
		}},
	}
	if err := b.Create(b.t.Context(), hook); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := b.Delete(context.WithoutCancel(b.t.Context()), hook); err != nil {
			b.t.Error(err)
		}
	})
	time.Sleep(2 * time.Second) // the API server reads its webhooks anew
}

// asked is a ConfigMap that the webhook is asked about.
func asked(name string) string {
	return strings.Replace(configMap(name, "one"), "metadata:\n", "metadata:\n  labels: {asked: \"yes\"}\n", 1)
}

func TestWebhookRefuses(t *testing.T) {
	b := start(t)
	b.webhook("refuses", 5, func(w http.ResponseWriter, r *http.Request) {
		var review admission.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			t.Error(err)
		}
		review.Response = &admission.AdmissionResponse{UID: review.Request.UID, Result: &metav1.Status{Message: "not on a Monday"}}
		if err := json.NewEncoder(w).Encode(review); err != nil {
			t.Error(err)
		}
	})
	b.push("main@sha1:1", map[string]string{"bad.yaml": asked("bad"), "good.yaml": configMap("good", "one")})
	b.create("app", nil)
	b.says("app", "False/ReconciliationFailed", "ConfigMap/"+b.ns+"/bad", "not on a Monday")
	if b.gone("good") {
		t.Error("the rest was not applied")
	}
	if n := len(b.ready("app", "False").Status.Inventory.Entries); n != 2 {
		t.Errorf("inventory: %d entries", n)
	}
}

func TestWebhookHangs(t *testing.T) {
	b := start(t)
	var calls atomic.Int64
	b.webhook("hangs", 1, func(_ http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		_, _ = io.Copy(io.Discard, r.Body) // or the server does not see who goes
		<-r.Context().Done()
	})
	files := map[string]string{"account.yaml": "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: robot}\n"}
	for i := range 40 {
		files[fmt.Sprintf("a%d.yaml", i)] = asked(fmt.Sprintf("a%d", i))
	}
	for i := range 5 {
		files[fmt.Sprintf("z%d.yaml", i)] = configMap(fmt.Sprintf("z%d", i), "one")
	}
	b.push("main@sha1:1", files)
	b.create("app", nil)
	b.says("app", "False/ReconciliationFailed", "hangs.example.com")
	if n := calls.Load(); n > 24 {
		t.Errorf("the webhook was asked %d times before the run said so, want 8 or a few more", n)
	}
	for i := range 5 {
		eventually(t, time.Minute, "the rest to be applied", func() bool { return !b.gone(fmt.Sprintf("z%d", i)) })
	}
	if err := b.Get(t.Context(), client.ObjectKey{Namespace: b.ns, Name: "robot"}, &corev1.ServiceAccount{}); err != nil {
		t.Errorf("an object of another kind: %v", err)
	}
}

// TestInventoryOfTenThousand stores as much as a status may hold, and refuses
// what would not fit before anything is applied.
func TestInventoryOfTenThousand(t *testing.T) {
	b := start(t)
	many := func(name string) string {
		var text strings.Builder
		for i := range 10000 {
			fmt.Fprintf(&text, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s-%d, namespace: %s}\n---\n", name, i, b.ns)
		}
		return text.String()
	}
	b.push("main@sha1:1", map[string]string{"long/a.yaml": many(strings.Repeat("x", 200))})
	ks := b.create("long", func(s *kustomizev1.KustomizationSpec) {
		s.Path, s.TargetNamespace, s.RetryInterval = "long", "", &metav1.Duration{Duration: time.Hour}
	})
	eventually(t, 2*time.Minute, "the inventory to be refused", func() bool {
		if err := b.Get(t.Context(), client.ObjectKeyFromObject(ks), ks); err != nil {
			t.Fatal(err)
		}
		c := apimeta.FindStatusCondition(ks.Status.Conditions, "Ready")
		return c != nil && strings.Contains(c.Message, "the inventory of 10000 objects takes") && strings.Contains(c.Message, "nothing was changed")
	})
	if ks.Status.Inventory != nil || !b.gone(strings.Repeat("x", 200)+"-0") {
		t.Error("something was applied")
	}

	// 10,000 objects with names of usual length fit.
	fits := b.create("fits", func(s *kustomizev1.KustomizationSpec) { s.Path, s.Suspend = "long", true })
	before := fits.DeepCopy()
	fits.Status.Inventory = &kustomizev1.ResourceInventory{}
	for i := range 10000 {
		fits.Status.Inventory.Entries = append(fits.Status.Inventory.Entries, kustomizev1.ResourceRef{ID: fmt.Sprintf("some-namespace_%s-%d_apps_Deployment", strings.Repeat("x", 50), i), Version: "v1"})
	}
	if err := b.Status().Patch(t.Context(), fits, client.MergeFrom(before)); err != nil {
		t.Errorf("the API server refuses an inventory of 10,000: %v", err)
	}
}

// TestSourceHasNothing restarts the controller with a source that is
// suspended, and so has no tree.
func TestSourceHasNothing(t *testing.T) {
	first := start(t)
	first.push("main@sha1:1", map[string]string{"a.yaml": configMap("a", "one")})
	first.create("app", nil)
	was := first.ready("app", "True")

	b := start(t, func(b *bench) { b.ns = first.ns; b.ctrl.Sources = source.NewStore(); b.store = b.ctrl.Sources })
	b.store.Fail("GitRepository", b.ns, "repo", errors.New("it is suspended, and cannot be fetched as it was"))
	eventually(t, 20*time.Second, "an Event to say so", func() bool {
		return strings.Contains(fmt.Sprint(b.events("ArtifactFailed")), "it is suspended")
	})
	is := b.ready("app", "True")
	if is.ResourceVersion != was.ResourceVersion {
		t.Errorf("the status was written: %v", is.Status.Conditions)
	}
	if b.gone("a") {
		t.Error("what was applied is gone")
	}
}
