// Package attacks tries on the whole product what has succeeded against others
// of its kind. A test that has K and a number in its name is for a class of
// published advisories, one with R and a number for a fault to survive:
// docs/security.md has the list.
package attacks

import (
	"context"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/lockstep-dev/lockstep/test/stage"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// shared has no admission webhook, as the product has none: what is refused
// here is refused by the schema or by the controller.
var shared = testenv.Share(func(t testing.TB) (*stage.Stage, error) {
	return stage.Start(t.Context(), stage.Options{WithoutAWS: true})
})

func TestMain(m *testing.M) { testenv.Main(m) }

// fill reads a manifest into an object.
func fill(t *testing.T, into client.Object, manifest string) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(manifest), into); err != nil {
		t.Fatal(err)
	}
}

// conditioned is an object with conditions.
type conditioned interface {
	client.Object
	GetConditions() []metav1.Condition
}

// settled waits until an object is or is not Ready, and
// returns it.
func settled(t *testing.T, s *stage.Stage, o conditioned, status string) metav1.Condition {
	t.Helper()
	last := "no condition"
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err := s.Client.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			last = err.Error()
			continue
		}
		if c := apimeta.FindStatusCondition(o.GetConditions(), "Ready"); c != nil {
			if last = string(c.Status) + "/" + c.Reason + ": " + c.Message; string(c.Status) == status {
				return *c
			}
		}
	}
	t.Fatalf("%T %s: waited for Ready=%s; last seen: %s", o, o.GetName(), status, last)
	return metav1.Condition{}
}

// lasting is a context for what is done when a test is over.
func lasting(t *testing.T) context.Context { return context.WithoutCancel(t.Context()) }

// allow gives a ServiceAccount all rights.
func allow(t *testing.T, s *stage.Stage, ns, account string) {
	t.Helper()
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: ns + "-" + account},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: ns, Name: account}},
	}
	if err := s.Ensure(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Client.Delete(lasting(t), binding) })
}
