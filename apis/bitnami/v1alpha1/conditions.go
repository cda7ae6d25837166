package v1alpha1

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Synced says whether the Secret holds what the SealedSecret does. It is
// always the first condition, because the printer columns of Sealed Secrets
// look there.
const Synced = "Synced"

// SealedWithRetiredKey is True on a SealedSecret of which a value was sealed
// with a key that is retired, until it is sealed again. It is absent else.
const SealedWithRetiredKey = "SealedWithRetiredKey"

// ready is the condition that the loop sets, and that Synced follows.
const ready = "Ready"

// Reasons of the conditions, and of the Events. Those of Events are Sealed
// Secrets' own.
const (
	ReasonRetiredKey   = "RetiredKey"      // of SealedWithRetiredKey
	ReasonUnsealed     = "Unsealed"        // the Secret holds what the SealedSecret does
	ReasonUnsealFailed = "ErrUnsealFailed" // a value cannot be opened, or a template cannot be rendered
	ReasonUpdateFailed = "ErrUpdateFailed" // the Secret cannot be written
)

// GetConditions returns the conditions in the form of Kubernetes.
func (s *SealedSecret) GetConditions() []metav1.Condition {
	var out []metav1.Condition
	for _, c := range s.Status.Conditions {
		if c.Type == Synced {
			continue
		}
		out = append(out, metav1.Condition{
			Type:               c.Type,
			Status:             metav1.ConditionStatus(c.Status),
			Reason:             c.Reason,
			Message:            c.Message,
			LastTransitionTime: c.LastTransitionTime,
		})
	}
	return out
}

// SetConditions replaces the conditions, and puts Synced before them, which
// says the same as Ready in the form of Sealed Secrets: without a message when
// it is true.
func (s *SealedSecret) SetConditions(conditions []metav1.Condition) {
	before := s.Status.Conditions
	var after []Condition
	for _, c := range conditions {
		next := s.update(before, Condition{
			Type:               c.Type,
			Status:             corev1.ConditionStatus(c.Status),
			Reason:             c.Reason,
			Message:            c.Message,
			LastTransitionTime: c.LastTransitionTime,
		})
		after = append(after, next)
		if c.Type != ready {
			continue
		}
		synced := next
		synced.Type = Synced
		if synced.Status == corev1.ConditionTrue {
			synced.Reason, synced.Message = "", ""
		}
		after = slices.Insert(after, 0, synced)
	}
	s.Status.Conditions = after
}

// update sets when c was written: now, if it differs from what was there or
// speaks of a newer generation. Otherwise the time stays, or each look at an
// object would write its status.
func (s *SealedSecret) update(before []Condition, c Condition) Condition {
	i := slices.IndexFunc(before, func(b Condition) bool { return b.Type == c.Type })
	switch {
	case i < 0 || !before[i].LastTransitionTime.Equal(&c.LastTransitionTime):
		c.LastUpdateTime = c.LastTransitionTime
	case before[i].Reason != c.Reason || before[i].Message != c.Message || s.Status.ObservedGeneration != s.Generation:
		c.LastUpdateTime = metav1.Now()
	default:
		c.LastUpdateTime = before[i].LastUpdateTime
	}
	return c
}
