package sealedsecret_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
)

// When a key is retired, what still needs it says so, keeps its Secret, and is
// opened no more; when it is taken back, all is as before.
func TestRetiredKey(t *testing.T) {
	b := newBench(t)
	b.run()
	b.create(b.sealed("db", b.strict("db"), b.key(), "value"))
	b.synced("db", "True")
	retired := func(name string) bool {
		var ss bitnamiv1alpha1.SealedSecret
		if err := b.Get(t.Context(), client.ObjectKey{Namespace: b.ns, Name: name}, &ss); err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(ss.Status.Conditions, func(c bitnamiv1alpha1.Condition) bool {
			return c.Type == bitnamiv1alpha1.SealedWithRetiredKey && c.Status == corev1.ConditionTrue && strings.Contains(c.Message, "lockstep reseal")
		}) && ss.Status.Conditions[0].Type == bitnamiv1alpha1.Synced
	}
	late := b.sealed("late", b.strict("late"), b.key(), "value")
	b.state("retired")
	eventually(t, "the condition", func() (bool, string) { return retired("db"), "" })
	b.synced("db", "True")
	b.holds("db", "value")

	b.create(late)
	b.synced("late", "False")
	eventually(t, "the condition of what was not opened yet", func() (bool, string) { return retired("late"), "" })

	b.state("active")
	b.synced("late", "True")
	eventually(t, "the conditions to go", func() (bool, string) { return !retired("db") && !retired("late"), "" })
}

// state labels every key Secret.
func (b *bench) state(state string) {
	b.t.Helper()
	var all corev1.SecretList
	if err := b.List(b.t.Context(), &all, client.InNamespace(b.ns), client.HasLabels{bitnamiv1alpha1.LabelSealingKey}); err != nil {
		b.t.Fatal(err)
	}
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:%q}}}`, bitnamiv1alpha1.LabelSealingKey, state)
	for i := range all.Items {
		if s := &all.Items[i]; s.Labels[bitnamiv1alpha1.LabelSealingKey] != "" {
			if err := b.Patch(b.t.Context(), s, client.RawPatch(types.MergePatchType, patch)); err != nil {
				b.t.Fatal(err)
			}
		}
	}
}
