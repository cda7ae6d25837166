package pull

import (
	"errors"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/providers"
)

// recorder gives the Events of the Loop the reasons of External Secrets
// Operator that a condition does not tell.
type recorder struct {
	record.EventRecorder

	memories *memories
}

// Event implements record.EventRecorder.
func (r recorder) Event(object runtime.Object, kind, reason, message string) {
	if es, ok := object.(*esv1.ExternalSecret); ok && reason == esv1.EventUpdated {
		if m := r.memories.of(es); m.made {
			reason, m.made = esv1.EventCreated, false
		}
	}
	r.EventRecorder.Event(object, kind, reason, message)
}

// warn tells what there is to say of the settings of generators.
func (r *run) warn(results map[fetch.Read]fetch.Result) {
	var all []string
	for _, result := range results {
		all = append(all, result.Warn...)
	}
	slices.Sort(all)
	for _, warning := range r.told.News(r.es, slices.Compact(all)) {
		if r.Recorder != nil {
			r.Recorder.Event(r.es, corev1.EventTypeWarning, esv1.ReasonSecretSynced, warning)
		}
	}
}

// miss tells once which values a store does not have, where the deletion policy
// lets the Secret be without them.
func (r *run) miss(results map[fetch.Read]fetch.Result) {
	var missing []string
	for read, result := range results {
		if errors.Is(result.Err, providers.ErrNotFound) {
			missing = append(missing, read.String())
		}
	}
	slices.Sort(missing)
	names := strings.Join(missing, ", ")
	if names != "" && names != r.memory.missing && r.Recorder != nil {
		r.Recorder.Event(r.es, corev1.EventTypeNormal, esv1.EventMissingProviderSecret, "the store has no secret "+names+"; by deletionPolicy, the Secret goes without")
	}
	r.memory.missing = names
}
