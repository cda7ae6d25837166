package kustomization

import (
	"errors"
	"fmt"
	"slices"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	corev1 "k8s.io/api/core/v1"

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

// of returns the policy for one Kustomization.
func (p Plaintext) of(ks *kustomizev1.Kustomization) Policy {
	if slices.Contains(p.AllowIn, ks.Namespace) || slices.Contains(p.AllowIn, ks.Namespace+"/"+ks.Name) {
		return Allow
	}
	return p.Policy
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
