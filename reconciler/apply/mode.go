package apply

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Labels or annotations, on what is desired or on what is there, that steer
// how one object is applied. They are Flux's.
const (
	modeKey      = "kustomize.toolkit.fluxcd.io/ssa"
	reconcileKey = "kustomize.toolkit.fluxcd.io/reconcile"
	forceKey     = "kustomize.toolkit.fluxcd.io/force"
	pruneKey     = "kustomize.toolkit.fluxcd.io/prune"

	disabled = "disabled"
	enabled  = "enabled"
)

// Mode says how an object is applied.
type Mode string

// The modes.
const (
	Override     Mode = ""             // the fields that are desired are ours, and what kubectl set besides goes
	Merge        Mode = "Merge"        // the fields that are desired are ours, others stay with whom they are
	IfNotPresent Mode = "IfNotPresent" // created, and then left alone
	Ignore       Mode = "Ignore"       // left alone
)

// ModeOf returns the mode that an object asks for.
func ModeOf(o metav1.Object) Mode {
	if has(o, reconcileKey, disabled) {
		return Ignore
	}
	for _, m := range []Mode{Merge, IfNotPresent, Ignore} {
		if has(o, modeKey, string(m)) {
			return m
		}
	}
	return Override
}

// Recreatable reports whether an object asks to be deleted and made again
// where a change is not possible.
func Recreatable(o metav1.Object) bool { return has(o, forceKey, enabled) }

// Kept reports whether a live object asks not to be deleted with its source.
func Kept(live metav1.Object) bool {
	return has(live, pruneKey, disabled) || ModeOf(live) == Ignore
}

func has(o metav1.Object, key, value string) bool {
	return o.GetLabels()[key] == value || o.GetAnnotations()[key] == value
}
