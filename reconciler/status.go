package reconciler

import (
	"errors"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	corev1 "k8s.io/api/core/v1"
)

// Condition types and reasons that the loop sets; kstatus and Flux's client
// read them. Source: https://github.com/fluxcd/cli-utils/tree/main/pkg/kstatus
// and github.com/fluxcd/pkg/apis/meta.
const (
	Ready       = "Ready"
	Reconciling = "Reconciling" // work goes on: newly begun, or after a failure that will be retried
	Stalled     = "Stalled"     // no retry helps until something is changed

	reasonSucceeded = "Succeeded"
	reasonFailed    = "Failed"
	reasonRetry     = "ProgressingWithRetry"
)

// maxMessage bounds a condition's message in bytes: Flux's cap, below the
// 32,768 that the API server allows.
const maxMessage = 20000

// report sets the conditions of obj for the outcome of an Apply. Ready is
// always computed as a whole, here and nowhere else.
func (l *Loop[T]) report(obj T, err error) {
	conditions := obj.GetConditions()
	for _, c := range l.outcome(obj, err) {
		if c.Reason == "" { // absent in this outcome
			meta.RemoveStatusCondition(&conditions, c.Type)
			continue
		}
		c.ObservedGeneration = obj.GetGeneration()
		meta.SetStatusCondition(&conditions, c)
	}
	obj.SetConditions(conditions)
	if l.Observe != nil {
		l.Observe(obj, err)
	}
}

// outcome returns Ready, Reconciling and Stalled for err; one without a reason
// is to be removed.
func (l *Loop[T]) outcome(obj T, err error) []metav1.Condition {
	ready := metav1.Condition{Type: Ready, Status: metav1.ConditionTrue}
	reconciling := metav1.Condition{Type: Reconciling}
	stalled := metav1.Condition{Type: Stalled}
	if err == nil {
		ready.Reason = reasonSucceeded
		if l.Success != nil {
			ready.Reason, ready.Message = l.Success(obj)
		}
		return []metav1.Condition{ready, reconciling, stalled}
	}

	ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, reasonOf(err, reasonFailed), trim(err.Error())
	reconciling.Status, reconciling.Reason, reconciling.Message = metav1.ConditionTrue, reasonRetry, ready.Message
	var e *Error
	switch {
	case !errors.As(err, &e):
	case e.Final:
		stalled.Status, stalled.Reason, stalled.Message = metav1.ConditionTrue, ready.Reason, ready.Message
		reconciling.Reason = ""
	case e.Progress:
		ready.Status, reconciling.Reason = metav1.ConditionUnknown, ready.Reason
	}
	return []metav1.Condition{ready, reconciling, stalled}
}

func trim(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	return message[:maxMessage-3] + "..."
}

// event tells the transition of Ready, if there was one: of its status, reason
// or message, but not into or within Unknown, which is only on the way.
func (l *Loop[T]) event(before, after T) {
	was := meta.FindStatusCondition(before.GetConditions(), Ready)
	is := meta.FindStatusCondition(after.GetConditions(), Ready)
	if l.Recorder == nil || is == nil || is.Status == metav1.ConditionUnknown {
		return
	}
	if was != nil && was.Status == is.Status && was.Reason == is.Reason && was.Message == is.Message {
		return
	}
	reason, kind := is.Reason, corev1.EventTypeNormal
	if l.EventReason != nil {
		reason = l.EventReason(*is)
	}
	if is.Status == metav1.ConditionFalse {
		kind = corev1.EventTypeWarning
	}
	l.Recorder.Event(after, kind, reason, is.Message)
}
