package chart

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// Only sync.permissive makes the controller cluster-admin, and with it no other
// account applies.
func TestPermissive(t *testing.T) {
	for name, tc := range map[string]struct {
		values     map[string]any
		permissive bool
	}{
		"defaults":   {},
		"off":        {values: permissive(false)},
		"permissive": {values: permissive(true), permissive: true},
	} {
		t.Run(name, func(t *testing.T) {
			d := find[appsv1.Deployment](t, tc.values, "Deployment")[0].Spec.Template.Spec
			args := d.Containers[0].Args
			for arg, want := range map[string]bool{
				"--permissive-sync":                     tc.permissive,
				"--allow-cross-namespace-refs=true":     tc.permissive,
				"--sync-account=lockstep/lockstep-sync": !tc.permissive,
				"--allow-cross-namespace-refs=false":    !tc.permissive,
			} {
				if slices.Contains(args, arg) != want {
					t.Errorf("%q in the arguments is %v, want %v: %q", arg, !want, want, args)
				}
			}
			admin := slices.ContainsFunc(find[rbacv1.ClusterRoleBinding](t, tc.values, "ClusterRoleBinding"), func(b rbacv1.ClusterRoleBinding) bool {
				return b.RoleRef.Name == "cluster-admin" && b.Subjects[0].Name == d.ServiceAccountName && b.Subjects[0].Namespace == "lockstep"
			})
			if admin != tc.permissive {
				t.Errorf("the controller is cluster-admin: %v, want %v", admin, tc.permissive)
			}
		})
	}
}

func TestPermissiveExcludes(t *testing.T) {
	for field, value := range map[string]string{"clusterRole": "view", "defaultServiceAccount": "flux"} {
		values := map[string]any{"sync": map[string]any{"permissive": true, field: value}}
		if _, err := render(values); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: error %v, want one that names it", field, err)
		}
	}
}

func permissive(on bool) map[string]any {
	return map[string]any{"sync": map[string]any{"permissive": on}}
}
