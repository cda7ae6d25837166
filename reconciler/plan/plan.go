// Package plan decides what to do about a set of rendered objects: which to
// apply, in which order, and which to prune. It is pure: no client, no clock.
package plan

import (
	"cmp"
	"slices"
	"strings"

	"github.com/fluxcd/cli-utils/pkg/object"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// An Entry names an object that was or will be applied.
type Entry struct {
	ID      object.ObjMetadata
	Version string // API version within the group
}

// An Object is one that shall be there.
type Object struct {
	Entry
	Desired *unstructured.Unstructured
	Hash    string // equal for equal Desired
	Skip    bool   // it belongs to the inventory but is left as it is
}

// State is what is known of an object that was applied before.
type State struct {
	Hash    string // of what was applied
	Drifted bool   // it is gone, or a field of ours is no longer as applied
}

// Input is all that a plan depends on.
type Input struct {
	Desired   []Object
	Inventory []Entry                      // what earlier revisions applied, in the order of the status
	Applied   map[object.ObjMetadata]State // by this process
	Prune     bool
	AllowMass bool // prune also what the guard would keep
}

// Why an object is applied.
const (
	New     = "new"     // not applied before by this process
	Changed = "changed" // the source says something else than what was applied
	Drifted = "drifted" // somebody else changed or deleted it
)

// An Action applies one object.
type Action struct {
	Object
	Why string
}

// A Plan is carried out in the order of its fields.
type Plan struct {
	// Before is the inventory to be stored before the first action: all that
	// is or will be there, so that a crash at any point orphans nothing.
	Before []Entry
	// Stages are applied one after the other; actions of one stage in any order.
	Stages [][]Action
	// Prune are deleted after the last stage, one after the other.
	Prune []Entry
	// Held would be pruned, but are so many that it looks like a mistake: they
	// stay, in the inventory too, until somebody says that it is none.
	Held []Entry
	// After is the inventory when all is done.
	After []Entry
}

// The guard keeps what is gone from the source if it is more than both.
const (
	massObjects = 10
	massPercent = 30
)

// mass reports whether so many objects are gone that it looks like a mistake:
// a great part of many, or all of any number.
func (in Input) mass(stale int) bool {
	if in.AllowMass || stale == 0 {
		return false
	}
	return len(in.Desired) == 0 || stale > massObjects && stale*100 > massPercent*len(in.Inventory)
}

// Compute returns the plan for in.
func Compute(in Input) Plan {
	after := make([]Entry, 0, len(in.Desired))
	desired := map[object.ObjMetadata]bool{}
	stages := make([][]Action, len(order)+1)
	for _, o := range in.Desired {
		after = append(after, o.Entry)
		desired[o.ID] = true
		if why := in.why(o); why != "" && !o.Skip {
			s := Stage(o.ID)
			stages[s] = append(stages[s], Action{Object: o, Why: why})
		}
	}

	var stale []Entry
	for _, e := range in.Inventory {
		if !desired[e.ID] {
			stale = append(stale, e)
		}
	}
	p := Plan{Before: sorted(append(stale, after...)), After: sorted(after)}
	p.Stages = slices.DeleteFunc(stages, func(s []Action) bool { return len(s) == 0 })
	switch {
	case !in.Prune:
	case in.mass(len(stale)):
		p.Held, p.After = sorted(stale), p.Before
	default:
		p.Prune = Reverse(stale)
	}
	return p
}

// Reverse orders entries as they are to be deleted: what others stand on last.
func Reverse(entries []Entry) []Entry {
	entries = sorted(entries)
	slices.SortStableFunc(entries, func(a, b Entry) int { return cmp.Compare(Stage(b.ID), Stage(a.ID)) })
	return entries
}

// Merge returns the entries of both, each once.
func Merge(a, b []Entry) []Entry {
	seen := map[object.ObjMetadata]bool{}
	var all []Entry
	for _, e := range append(slices.Clone(a), b...) {
		if !seen[e.ID] {
			seen[e.ID] = true
			all = append(all, e)
		}
	}
	return sorted(all)
}

// why returns the reason to apply o, or "" if it is as it should be.
func (in Input) why(o Object) string {
	was, ok := in.Applied[o.ID]
	switch {
	case !ok:
		return New
	case was.Hash != o.Hash:
		return Changed
	case was.Drifted:
		return Drifted
	default:
		return ""
	}
}

// order lists the kinds of each stage; what is not named comes in the stage
// after the last but one, with the workloads. What other objects stand on
// comes before them; what can refuse other objects comes last.
var order = []func(id object.ObjMetadata) bool{
	foundations,
	dependencies,
	func(id object.ObjMetadata) bool { return !hooks(id) },
}

func foundations(id object.ObjMetadata) bool {
	switch id.GroupKind.Kind {
	case "CustomResourceDefinition", "Namespace":
		return true
	default:
		return false
	}
}

func dependencies(id object.ObjMetadata) bool {
	switch id.GroupKind.Kind {
	case "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ServiceAccount",
		"ResourceQuota", "LimitRange", "NetworkPolicy",
		"ConfigMap", "Secret", "SealedSecret", "ExternalSecret", "SecretStore", "ClusterSecretStore",
		"PersistentVolume", "PersistentVolumeClaim":
		return true
	default:
		return strings.HasSuffix(id.GroupKind.Kind, "Class")
	}
}

func hooks(id object.ObjMetadata) bool {
	switch id.GroupKind.Kind {
	case "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "APIService",
		"ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicyBinding":
		return true
	default:
		return false
	}
}

// Stage returns when an object is applied, counted from 0.
func Stage(id object.ObjMetadata) int {
	for i, in := range order {
		if in(id) {
			return i
		}
	}
	return len(order)
}

func sorted(entries []Entry) []Entry {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.ID.String(), b.ID.String()) })
	return entries
}
