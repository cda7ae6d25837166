package kustomization

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lockstep-dev/lockstep/reconciler"
	"github.com/lockstep-dev/lockstep/reconciler/render"
)

// reasonPlaintext is the condition reason of a source that holds a Secret in
// clear.
const reasonPlaintext = "PlaintextSecret"

// Plaintext is what to do about Secrets that are in clear in the source. The
// zero value refuses them everywhere.
type Plaintext struct {
	Policy Policy
	// AllowIn lists namespaces, or NAMESPACE/NAME, of Kustomizations that may
	// apply them. Only who starts the controller can set it.
	AllowIn []string

	// Values says what to do about values of ConfigMaps, environment variables
	// and arguments that look like credentials. Empty is Warn: such a find can
	// be a false alarm.
	Values Policy
	// IgnoreRules are the rules of the package detect that are not asked.
	IgnoreRules []string
}

// Policy is one of three.
type Policy string

// The policies. Empty is Refuse.
const (
	Refuse Policy = "refuse" // apply nothing of the revision
	Warn   Policy = "warn"   // apply, and say so in an event
	Allow  Policy = "allow"  // apply
)

// ParsePolicy returns the policy that a setting names.
func ParsePolicy(s string) (Policy, error) {
	switch p := Policy(s); p {
	case Refuse, Warn, Allow:
		return p, nil
	default:
		return "", fmt.Errorf("%q: use refuse, warn or allow", s)
	}
}

// of returns the policy about Secrets for one Kustomization.
func (p Plaintext) of(ks *kustomizev1.Kustomization) Policy {
	if p.allows(ks) {
		return Allow
	}
	return p.Policy
}

// ofValues returns the policy about other values for one Kustomization.
func (p Plaintext) ofValues(ks *kustomizev1.Kustomization) Policy {
	if p.allows(ks) {
		return Allow
	}
	return cmp.Or(p.Values, Warn)
}

func (p Plaintext) allows(ks *kustomizev1.Kustomization) bool {
	return slices.Contains(p.AllowIn, ks.Namespace) || slices.Contains(p.AllowIn, ks.Namespace+"/"+ks.Name)
}

// guard refuses or reports the Secrets that were found in clear. It names
// file, object and keys, never a value.
func (r *run) guard(found []render.Plaintext) error {
	if len(found) == 0 {
		return nil
	}
	text := found[0].String()
	if len(found) > 1 {
		text += fmt.Sprintf(" and %d more", len(found)-1)
	}
	if r.Plaintext.of(r.ks) == Warn {
		r.Recorder.Eventf(r.ks, corev1.EventTypeWarning, reasonPlaintext, "revision %s holds Secrets in clear: %s", r.revision, text)
		return nil
	}
	err := errors.New("the source holds Secrets in clear: " + text + ": seal them (kubeseal), fetch them by an ExternalSecret, and take the values for known; nothing of revision " + r.revision + " was applied")
	return reconciler.Final(reasonPlaintext, err)
}

// suspectCondition is a condition that is there, and True, while the newest
// revision holds values that look like credentials; it is the reason as well.
const suspectCondition = "PlaintextValue"

// guardValues refuses or reports values that look like credentials. It names
// file, object, field and rule, never a value.
func (r *run) guardValues(found []render.Suspect) error {
	if len(found) == 0 {
		apimeta.RemoveStatusCondition(&r.ks.Status.Conditions, suspectCondition)
		return nil
	}
	var all []string
	for _, s := range found[:min(len(found), shownSuspects)] {
		all = append(all, s.String())
	}
	text := strings.Join(all, ", ")
	if more := len(found) - len(all); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	text = "the source holds values in clear that look like credentials: " + text + ": move them to a Secret that is sealed or fetched, and take the values for known"
	if r.Plaintext.ofValues(r.ks) == Refuse {
		return reconciler.Final(suspectCondition, errors.New(text+"; nothing of revision "+r.revision+" was applied"))
	}
	was := apimeta.FindStatusCondition(r.ks.Status.Conditions, suspectCondition)
	if was == nil || was.Message != text {
		r.Recorder.Event(r.ks, corev1.EventTypeWarning, suspectCondition, text)
	}
	apimeta.SetStatusCondition(&r.ks.Status.Conditions, metav1.Condition{
		Type: suspectCondition, Status: metav1.ConditionTrue, Reason: "LooksLikeCredential", Message: text, ObservedGeneration: r.ks.Generation,
	})
	return nil
}

// shownSuspects is how many a message names: an event has room for 1 KiB.
const shownSuspects = 5
