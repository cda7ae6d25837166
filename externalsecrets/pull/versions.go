package pull

import (
	"context"
	"time"

	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/externalsecrets/queue"
)

// trusted is how long versions do in place of values. A list of versions shows
// neither that a secret may not be read any more nor what someone did to the
// store behind its back.
const trusted = 24 * time.Hour

// have is the versions of what the target was made of, if the target would be
// the same as long as these are. Else nil: what is asked for is wanted.
func (r *run) have(lane queue.Lane) map[fetch.Read]string {
	m := r.memory
	stored := r.plan.Stored()
	switch {
	case lane != queue.Periodic, r.hinted, len(m.versions) != len(stored), len(stored) != len(r.plan.Reads), r.now.Sub(m.valued) > trusted:
		return nil
	case m.desired == nil, m.synced != syncedVersion(r.es), m.stores != r.stores, !ready(r.es), differs(r.es, m, r.live, r.now):
		return nil
	}
	have := make(map[fetch.Read]string, len(stored))
	for i, read := range stored {
		have[read] = m.versions[i]
	}
	return have
}

// remember keeps the versions of results, if each has one and the target
// depends on nothing else: templates from ConfigMaps and Secrets are looked at
// whenever the store is read.
func (r *run) remember(results map[fetch.Read]fetch.Result) {
	r.memory.versions = nil
	t := r.es.Spec.Target.Template
	if !periodic(r.es) || r.memory.ready.message != messageSynced || t != nil && len(t.TemplateFrom) > 0 {
		return
	}
	var versions []string
	for _, read := range r.plan.Reads {
		if results[read].Version == "" {
			return
		}
		versions = append(versions, results[read].Version)
	}
	r.memory.versions, r.memory.valued = versions, r.now
}

// unchanged takes results of which some have no value, as it is the one that
// the target was made of. If that is true of all, all is as it was; or else the
// values are asked for.
func (r *run) unchanged(ctx context.Context, results map[fetch.Read]fetch.Result) error {
	for _, result := range results {
		if !result.Unchanged {
			r.memory.versions = nil
			return r.refresh(ctx)
		}
	}
	if differs(r.es, r.memory, r.live, r.now) {
		if err := r.write(ctx); err != nil {
			return err
		}
	}
	r.refreshed(r.askedAt(results), true)
	return nil
}

// anyUnchanged reports whether any of results has no value for that reason.
func anyUnchanged(results map[fetch.Read]fetch.Result) bool {
	for _, result := range results {
		if result.Unchanged {
			return true
		}
	}
	return false
}
