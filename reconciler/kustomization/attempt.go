package kustomization

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fluxcd/pkg/apis/meta"

	"github.com/lockstep-dev/lockstep/reconciler"
)

// begin notes what the run is about: a new revision or spec is a new attempt,
// and a request for a run begins the present one anew.
func (r *run) begin() {
	st := r.state
	if of := r.revision + "/" + strconv.FormatInt(r.ks.Generation, 10); st.attempt.of != of {
		st.attempt = attempt{of: of, began: time.Now()} //nolint:forbidigo // the Loop has no clock of its own
		st.health = healthState{}
	}
	at, asked := meta.ReconcileAnnotationValue(r.ks.GetAnnotations())
	if asked && at != st.asked && at != r.ks.Status.LastHandledReconcileAt {
		st.attempt = attempt{of: st.attempt.of, began: time.Now()} //nolint:forbidigo // as above
		st.health = healthState{reached: st.health.reached}
		for id, a := range st.applied {
			a.fight = fight{} // who asks wants it put right now
			st.applied[id] = a
		}
	}
	st.asked = at
}

// mostWait is the factor by which the retry interval grows, at most, while
// every run fails alike.
const mostWait = 8

// spread doubles the wait after each failure of the same attempt, up to
// mostWait times the interval that the spec asks for. A change of anything
// watched starts a run at once, whatever the wait.
func (r *run) spread(err error) error {
	var e *reconciler.Error
	if err == nil || errors.As(err, &e) && e.Progress {
		if err == nil {
			r.state.attempt.failures = 0
		}
		return err
	}
	factor := min(1<<min(r.state.attempt.failures, 8), mostWait)
	r.state.attempt.failures++
	if e == nil || e.Final || e.After == 0 {
		return err
	}
	longer := *e
	longer.After = e.After * time.Duration(factor)
	return &longer
}

// record puts the outcome into the history that the status keeps: the last
// five outcomes, as Flux has them. What a run that changed nothing finds is
// not recorded again. The digest is of what Git and the spec say, never of
// anything that holds a substituted value.
func (r *run) record(err error) {
	status, e := meta.ReconciliationSucceededReason, (*reconciler.Error)(nil)
	if errors.As(err, &e) {
		if e.Progress {
			return
		}
		status = e.Reason
	} else if err != nil {
		status = meta.ReconciliationFailedReason
	}
	digest, attempt := r.state.rendered.digest, &r.state.attempt
	last := r.ks.Status.History.Latest()
	if digest == "" || last != nil && last.Digest == digest && last.LastReconciledStatus == status && !attempt.changed {
		return
	}
	now := time.Now() //nolint:forbidigo // the Loop has no clock of its own
	r.ks.Status.History.Upsert(digest, now, now.Sub(attempt.began).Round(time.Millisecond), status, map[string]string{"revision": r.revision})
	attempt.changed, attempt.began = false, now
}

// await says that something is in the way that passes by itself, and is a
// failure if it has not within the timeout.
func (r *run) await(reason string, after time.Duration, err error) error {
	since := &r.state.attempt.waiting
	if since.IsZero() {
		*since = time.Now() //nolint:forbidigo // the Loop has no clock of its own
	}
	if time.Since(*since) >= r.ks.GetTimeout() {
		return retry(r.ks, reason, fmt.Errorf("waited %s: %w", r.ks.GetTimeout(), err))
	}
	return reconciler.Progressing(meta.ProgressingReason, cmp.Or(after, r.ks.GetTimeout()), err)
}

// allowPrune, with the value true or a revision, lets the prune guard pass.
const allowPrune = "lockstep.dev/allow-prune"

// mayPruneAll reports whether somebody said that what looks like a mistake is
// none, for good or for this revision.
func (r *run) mayPruneAll() bool {
	value := r.ks.Annotations[allowPrune]
	_, hash, _ := strings.Cut(r.revision, ":")
	return value != "" && (value == "true" || value == r.revision || value == hash)
}
