package v1alpha1

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// report does what the loop does.
func report(s *SealedSecret, status metav1.ConditionStatus, reason, message string) {
	conditions := s.GetConditions()
	meta.SetStatusCondition(&conditions, metav1.Condition{Type: "Ready", Status: status, Reason: reason, Message: message})
	s.SetConditions(conditions)
	s.Status.ObservedGeneration = s.Generation
}

func TestSyncedComesFirst(t *testing.T) {
	s := &SealedSecret{}
	s.Generation = 1
	report(s, metav1.ConditionTrue, ReasonUnsealed, "SealedSecret unsealed successfully")
	first := s.Status.Conditions[0]
	if first.Type != Synced || first.Status != corev1.ConditionTrue || first.Reason != "" || first.Message != "" {
		t.Errorf("after a success the first condition is %+v, want Synced, True, no reason, no message", first)
	}
	if !first.LastUpdateTime.Equal(&first.LastTransitionTime) {
		t.Error("a condition that is new was not updated when it came")
	}
	report(s, metav1.ConditionFalse, ReasonUnsealFailed, "no key")
	first = s.Status.Conditions[0]
	if first.Type != Synced || first.Status != corev1.ConditionFalse || first.Reason != ReasonUnsealFailed || first.Message != "no key" {
		t.Errorf("after a failure the first condition is %+v", first)
	}
	if len(s.Status.Conditions) != 2 || s.Status.Conditions[1].Type != "Ready" {
		t.Errorf("conditions are %+v, want Synced and Ready", s.Status.Conditions)
	}
}

func TestUpdateTime(t *testing.T) {
	past := metav1.NewTime(time.Now().Add(-time.Hour).Truncate(time.Second))
	cases := map[string]struct {
		reason     string
		generation int64
		message    string
		want       bool // the time of the update moves
	}{
		"Unchanged": {
			reason:     "A look that finds nothing new must not write the status.",
			generation: 1, message: "m",
		},
		"Generation": {
			reason:     "Sealed Secrets tells a new generation by the time of the update.",
			generation: 2, message: "m", want: true,
		},
		"Message": {
			reason:     "Another message is news.",
			generation: 1, message: "n", want: true,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := &SealedSecret{}
			s.Generation = tc.generation
			s.Status.ObservedGeneration = 1
			s.Status.Conditions = []Condition{
				{Type: Synced, Status: "False", Reason: "R", Message: "m", LastUpdateTime: past, LastTransitionTime: past},
				{Type: "Ready", Status: "False", Reason: "R", Message: "m", LastUpdateTime: past, LastTransitionTime: past},
			}
			report(s, metav1.ConditionFalse, "R", tc.message)
			for _, c := range s.Status.Conditions {
				if moved := !c.LastUpdateTime.Equal(&past); moved != tc.want {
					t.Errorf("%s: lastUpdateTime of %s moved: %v, want %v", tc.reason, c.Type, moved, tc.want)
				}
				if !c.LastTransitionTime.Equal(&past) {
					t.Errorf("%s: lastTransitionTime of %s moved", tc.reason, c.Type)
				}
			}
		})
	}
}

func TestEncryptedData(t *testing.T) {
	var spec SealedSecretSpec
	text := `{"encryptedData": {"a": "AgB", "b": 1, "c": {"d": "e"}}, "template": {"metadata": null, "data": null}}`
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		t.Fatal(err)
	}
	want := EncryptedData{"a": "AgB", "b": "", "c": ""}
	if diff := cmp.Diff(want, spec.EncryptedData); diff != "" {
		t.Errorf("an item that is no text must stay, and open with no key (-want +got):\n%s", diff)
	}
}

// One object of the wrong form is read, with what of it can be, so that it
// keeps nobody from reading the others.
func TestMalformedMetadata(t *testing.T) {
	for _, metadata := range []string{`{"labels":{"a":1}}`, `{"annotations":[]}`, `"text"`, `{"generation":"x"}`, `{"ownerReferences":{}}`, `[]`} {
		s := &SealedSecret{}
		err := json.Unmarshal([]byte(`{"spec":{"encryptedData":{"a":"b"},"template":{"type":"Opaque","metadata":`+metadata+`,"data":{"x":null}}}}`), s)
		if err != nil || !s.Spec.Template.MalformedMetadata || s.Spec.Template.Type != "Opaque" || len(s.Spec.Template.Data) != 1 {
			t.Errorf("%s: %v, %+v", metadata, err, s.Spec.Template)
		}
	}
	s := &SealedSecret{}
	if err := json.Unmarshal([]byte(`{"spec":{"template":{"metadata":null,"data":null}}}`), s); err != nil || s.Spec.Template.MalformedMetadata {
		t.Errorf("nulls of older kubeseals: %v, %+v", err, s.Spec.Template)
	}
}
