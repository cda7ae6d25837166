// Package health says whether a live object has reached what its spec asks
// for. It is pure.
package health

import (
	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// A Result is the health of one object.
type Result struct {
	Status  Status
	Message string
}

// Status is kstatus' vocabulary, as far as it is needed.
type Status string

// The states of an object.
const (
	Current    Status = "Current"    // it is as its spec says
	InProgress Status = "InProgress" // it is on the way there
	Failed     Status = "Failed"     // it will not get there by itself
	NotFound   Status = "NotFound"   // it is not there
)

// Of computes the health of a live object by the rules of kstatus. A kind
// without a status is Current as soon as it exists.
//
// Source: https://github.com/fluxcd/cli-utils/tree/main/pkg/kstatus
func Of(live *unstructured.Unstructured) Result {
	r, err := status.Compute(live)
	if err != nil {
		return Result{InProgress, "its status cannot be read: " + err.Error()}
	}
	switch r.Status {
	case status.CurrentStatus:
		return Result{Current, ""}
	case status.FailedStatus:
		return Result{Failed, r.Message}
	case status.NotFoundStatus:
		return Result{NotFound, r.Message}
	default: // InProgress, Terminating, Unknown
		return Result{InProgress, r.Message}
	}
}
