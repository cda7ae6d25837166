// Package attacks tries on the whole product what has succeeded against others
// of its kind. A test that has K and a number in its name is for a class of
// published advisories, one with R and a number for a fault to survive:
// docs/security.md has the list.
package attacks

import (
	"testing"
	"time"

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

// settled waits until the condition of an object is one of a status, and
// returns it.
func settled(t *testing.T, s *stage.Stage, o conditioned, kind, status string) metav1.Condition {
	t.Helper()
	last := "no condition " + kind
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err := s.Client.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			last = err.Error()
			continue
		}
		if c := apimeta.FindStatusCondition(o.GetConditions(), kind); c != nil {
			if last = string(c.Status) + "/" + c.Reason + ": " + c.Message; string(c.Status) == status {
				return *c
			}
		}
	}
	t.Fatalf("%T %s: waited for %s=%s; last seen: %s", o, o.GetName(), kind, status, last)
	return metav1.Condition{}
}
