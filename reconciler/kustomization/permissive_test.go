package kustomization_test

import (
	"strings"
	"testing"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/reconciler/apply"
)

// TestPermissive applies a ClusterRole from a fresh namespace, for which no
// account was made: only where the platform owner turned to Flux's default.
func TestPermissive(t *testing.T) {
	const refused = "False/ReconciliationFailed/"
	for name, tc := range map[string]struct {
		change func(*testing.T, *bench)
		want   []string // parts of Ready; none: it is applied
	}{
		"Permissive": {change: func(_ *testing.T, b *bench) { b.ctrl.Permissive = true }},
		"SyncAccount": {
			change: func(_ *testing.T, b *bench) {
				b.ctrl.Account = apply.Account{Namespace: "default", Name: "without-rights"}
			},
			want: []string{"is forbidden", "as ServiceAccount default/without-rights", "spec.serviceAccountName is empty", "--permissive-sync"},
		},
		"OwnRights": {change: poor, want: []string{"is forbidden", "with the controller's own rights", "spec.serviceAccountName is empty", "--permissive-sync"}},
		"PermissiveWithoutRights": {
			change: func(t *testing.T, b *bench) { poor(t, b); b.ctrl.Permissive = true },
			want:   []string{"is forbidden", "give the controller the right"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, func(b *bench) { tc.change(t, b) })
			role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: b.ns}}
			b.push("main@sha1:1", map[string]string{"role.yaml": "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: " + role.Name + "}\nrules: []\n"})
			b.create("app", func(s *kustomizev1.KustomizationSpec) {
				if s.TargetNamespace = ""; tc.want != nil {
					s.DeletionPolicy = kustomizev1.DeletionPolicyOrphan // who may not apply may not delete
				}
			})
			if tc.want == nil {
				b.ready("app", "True/ReconciliationSucceeded/")
				if err := b.Get(t.Context(), client.ObjectKeyFromObject(role), role); err != nil {
					t.Error(err)
				}
				return
			}
			ks := b.ready("app", refused)
			for _, part := range tc.want {
				if message := ks.Status.Conditions[0].Message; !strings.Contains(message, part) {
					t.Errorf("message %q, want %q in it", message, part)
				}
			}
			if err := b.Get(t.Context(), client.ObjectKeyFromObject(role), role); !apierrors.IsNotFound(err) {
				t.Errorf("get the ClusterRole: %v, want not found", err)
			}
		})
	}
}

// poor lets the controller apply as somebody who has no rights of its own.
func poor(t *testing.T, b *bench) {
	t.Helper()
	config, err := cluster.Get(t).User("poor")
	if err != nil {
		t.Fatal(err)
	}
	b.ctrl.Clients.Config = config
}
