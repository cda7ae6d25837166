package kustomization_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lockstep-dev/lockstep/reconciler/kustomization"
)

// TestPlaintextValues plants a credential in a ConfigMap.
func TestPlaintextValues(t *testing.T) {
	credential := strings.Join([]string{"AKIA", "QYLPMN5H", "HHFPZAM2"}, "")
	bad := map[string]string{"a.yaml": configMap("a", "one"), "b.yaml": configMap("b", credential)}
	good := map[string]string{"a.yaml": configMap("a", "one"), "b.yaml": configMap("b", "two")}
	for name, tc := range map[string]struct {
		reason  string
		set     kustomization.Plaintext
		ready   string
		told    bool // in an event or a condition
		applied bool
	}{
		"Warn":        {"It is applied and told.", kustomization.Plaintext{}, "True", true, true},
		"Refuse":      {"Nothing of it is applied.", kustomization.Plaintext{Values: kustomization.Refuse}, "False/PlaintextValue", true, false},
		"Allow":       {"It is applied.", kustomization.Plaintext{Values: kustomization.Allow}, "True", false, true},
		"AllowedHere": {"The platform's owner has allowed it for all of these.", kustomization.Plaintext{Values: kustomization.Refuse, AllowIn: []string{"NS"}}, "True", false, true},
		"RuleIgnored": {"The rule is one that nobody heeds.", kustomization.Plaintext{Values: kustomization.Refuse, IgnoreRules: []string{"aws-access-token", "generic-api-key"}}, "True", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, func(b *bench) {
				for i, in := range tc.set.AllowIn {
					tc.set.AllowIn[i] = strings.Replace(in, "NS", b.ns, 1)
				}
				b.ctrl.Plaintext = tc.set
			})
			b.push("main@sha1:1", bad)
			b.create("app", nil)
			ks := b.ready("app", tc.ready)
			if got := !b.gone("a"); got != tc.applied {
				t.Errorf("%s applied: got %v, want %v", tc.reason, got, tc.applied)
			}
			text := message(ks)
			if c := apimeta.FindStatusCondition(ks.Status.Conditions, "PlaintextValue"); (c != nil) != (tc.told && tc.applied) {
				t.Errorf("%s condition: got %v", tc.reason, c)
			} else if c != nil {
				text = c.Message
			}
			want := `ConfigMap/` + b.ns + `/b: data["key"] of b.yaml (rule aws-access-token)`
			if tc.told != strings.Contains(text, want) {
				t.Errorf("%s message %q: want %q in it: %v", tc.reason, text, want, tc.told)
			}
			eventually(t, 10*time.Second, "the event", func() bool { return (len(b.events("PlaintextValue")) > 0) == tc.told })
			if told := strings.Join(b.events("PlaintextValue"), "") + text; strings.Contains(told, credential) {
				t.Error("the value is repeated")
			}

			b.push("main@sha1:2", good)
			ks = b.ready("app", "True/ReconciliationSucceeded/Applied revision: main@sha1:2")
			if len(ks.Status.Conditions) > 1 || ks.Status.Conditions[0].Type != meta.ReadyCondition || ks.Status.Conditions[0].Status != metav1.ConditionTrue {
				t.Errorf("conditions once it is gone: got %v, want Ready alone", ks.Status.Conditions)
			}
		})
	}
}
