package kustomization_test

import (
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lockstep-dev/lockstep/reconciler/apply"
)

// TestAccountOfOneNamespace syncs as an account that has rights in one namespace
// only, and so may not watch the whole cluster: drift is seen all the same.
func TestAccountOfOneNamespace(t *testing.T) {
	b := start(t, func(b *bench) { b.ctrl.Account = apply.Account{Namespace: "default", Name: "deployer"} })
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "deployer"}}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "deployer"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "default", Name: "deployer"}},
	}
	if err := b.Create(t.Context(), account); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	if err := b.Create(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	b.push("main@sha1:1", map[string]string{"app/a.yaml": configMap("a", "one")})
	b.create("app", func(s *kustomizev1.KustomizationSpec) { s.Path, s.Wait = "./app", true })
	b.ready("app", "True/ReconciliationSucceeded/Applied revision: main@sha1:1")

	for range 2 {
		cm, err := b.configMap("a")
		if err != nil {
			t.Fatal(err)
		}
		cm.Data["key"] = "edited"
		if err := b.Update(t.Context(), cm); err != nil {
			t.Fatal(err)
		}
		eventually(t, 5*time.Second, "the edit to be put right", func() bool {
			cm, err := b.configMap("a")
			return err == nil && cm.Data["key"] == "one"
		})
	}
}
