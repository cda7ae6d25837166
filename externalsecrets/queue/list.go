package queue

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/providers"
)

const (
	// listPart is the part of an interval that a list may be late for its
	// versions to do in place of reads. An answer counts from when it may be of,
	// so that no value gets older than its interval: much more would cost more
	// lists than it saves.
	listPart = 10

	// unlisted is how long a store is not listed again that refused it, and
	// crowded how long one that holds far more than is read.
	unlisted = time.Hour
	crowded  = 24 * time.Hour

	// atMost is how many objects one list is made for.
	atMost = 10000
)

var errCrowded = errors.New("the store holds too many others")

// lists is what a line knows of the list of its store.
type lists struct {
	from time.Time // not to be listed before
	held int       // pages, when it was last listed; 0 is never
}

// look looks at a list of versions in place of reading calls, if that is
// cheaper. What has not changed has its answer then, and the rest is in line
// again.
func (l *line) look(ctx context.Context, reader providers.Reader, calls []*call) bool {
	lister, ok := reader.(providers.VersionLister)
	if !ok || !slices.ContainsFunc(calls, func(c *call) bool { return c.lane == Periodic }) {
		return false
	}
	late := lister.Listing().Late
	pages := l.worth(lister.Listing(), calls)
	if pages == 0 {
		return false
	}
	calls = l.gather(calls, late)
	missing := l.queue.missing(l.name)
	asked := time.Now() //nolint:forbidigo // a line has the process's clock; tests have that of synctest
	versions, held, err := l.versions(ctx, lister, refsOf(calls, missing), pages)
	l.learn(held, late, err)
	if err != nil {
		calls, versions = l.abandon(calls), nil
	}
	known, rest := l.sort(calls, versions)
	var results []fetch.Result
	for _, c := range known {
		results = append(results, fetch.Result{Version: versions[c.read.Ref], Unchanged: true, At: asked.Add(-late)})
	}
	l.again(rest)
	l.finish(known, results)
	l.queue.appeared(missing, versions)
	return true
}

// abandon lets go of calls that nobody has asked for yet, and returns the rest:
// a list that failed is no reason to read too soon.
func (l *line) abandon(calls []*call) (rest []*call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range calls {
		if len(c.jobs)+len(c.next) > 0 {
			rest = append(rest, c)
			continue
		}
		delete(l.calls, c.read)
		l.queue.release(c.wanted)
	}
	return rest
}

// sort tells the calls that versions answers from those that are to be read
// still: it does not have them, or an object that will come for one has another
// version. Those who have asked are told by unlike.
func (l *line) sort(calls []*call, versions map[providers.Ref]string) (known, rest []*call) {
	l.queue.mu.Lock()
	defer l.queue.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range calls {
		version := versions[c.read.Ref]
		changed := version == ""
		for object := range c.wanted {
			e := l.queue.expected.objects[object]
			changed = changed || e != nil && e.outdated(place{l.name, c.read}, version)
		}
		if changed {
			rest = append(rest, c)
		} else {
			known = append(known, c)
		}
	}
	return known, rest
}

// refsOf are those that a list is looked through for.
func refsOf(calls []*call, missing map[types.NamespacedName][]providers.Ref) []providers.Ref {
	refs := make([]providers.Ref, 0, len(calls))
	for _, c := range calls {
		refs = append(refs, c.read.Ref)
	}
	for _, more := range missing {
		refs = append(refs, more...)
	}
	return refs
}

// worth is how many pages to look at in place of reading calls and what else
// is due.
func (l *line) worth(of providers.Listing, calls []*call) int {
	now := time.Now() //nolint:forbidigo // as in look
	l.mu.Lock()
	from, held, size, n := l.lists.from, l.lists.held, max(l.batch, 1), 0
	for _, c := range slices.Concat(calls, l.waiting[Periodic]) {
		if c.listable(of.Late) {
			n++
		}
	}
	l.mu.Unlock()
	if of.PerPage <= 0 || n == 0 || now.Before(from) {
		return 0
	}
	l.queue.mu.Lock()
	n += len(l.queue.expected.next(l.name, calls, limits{atMost, listEarly, listed(of.Late)}, now))
	l.queue.mu.Unlock()
	return fetch.ListPages(n, size, held)
}

// listable reports whether a version may do in place of a call: all who want
// it have one to compare it with.
func (c *call) listable(late time.Duration) bool {
	return c.lane == Periodic && c.read.Plain() && len(c.jobs) > 0 && !slices.ContainsFunc(c.jobs, func(j *job) bool {
		return j.have[c.read] == "" || j.every < listPart*late
	})
}

// listed picks those that have versions to compare, and time.
func listed(late time.Duration) func(*expected) bool {
	return func(e *expected) bool { return len(e.Versions) > 0 && e.Every >= listPart*late }
}

// gather adds to calls what else a list may answer. Those that it may not go
// back in line.
func (l *line) gather(calls []*call, late time.Duration) (all []*call) {
	l.mu.Lock()
	l.waiting[Periodic] = slices.DeleteFunc(l.waiting[Periodic], func(c *call) bool {
		if !c.listable(late) {
			return false
		}
		all = append(all, c.send())
		return true
	})
	var rest []*call
	for _, c := range calls {
		if c.listable(late) {
			all = append(all, c)
		} else {
			rest = append(rest, c)
		}
	}
	l.mu.Unlock()
	l.again(rest)
	_, horizons := l.room(all)
	return l.along(all, horizons, limits{atMost, listEarly, listed(late)})
}

// again puts calls back in line that were not answered: all at once, or a
// worker would take the first of them by itself.
func (l *line) again(calls []*call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range calls {
		lane := min(c.lane, c.urgent)
		l.enqueue(&call{read: c.read, lane: lane, jobs: slices.Concat(c.jobs, c.next), wanted: c.wanted})
		l.openWindow(lane)
	}
}

// versions lists the store, pages at most.
func (l *line) versions(ctx context.Context, lister providers.VersionLister, refs []providers.Ref, pages int) (all map[providers.Ref]string, held int, err error) {
	all = map[providers.Ref]string{}
	for page := ""; ; {
		if held == pages {
			return nil, held + 1, errCrowded
		}
		if held > 0 {
			l.pace.wait(ctx)
		}
		found, next, err := l.page(ctx, lister, page, refs)
		if err != nil {
			return nil, 0, err
		}
		held++
		maps.Copy(all, found)
		if page = next; page == "" {
			return all, held, nil
		}
	}
}

func (l *line) page(ctx context.Context, lister providers.VersionLister, page string, refs []providers.Ref) (map[providers.Ref]string, string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return lister.Versions(ctx, page, refs)
}

// learn notes after a list when to make the next. A store that throttles or
// is down says so to the reads, too.
func (l *line) learn(held int, late time.Duration, err error) {
	now := time.Now() //nolint:forbidigo // as in look
	l.mu.Lock()
	defer l.mu.Unlock()
	var throttled providers.Throttled
	switch {
	case err == nil:
		l.lists = lists{now.Add(late), held}
	case errors.Is(err, errCrowded):
		l.lists = lists{now.Add(crowded), 0} // by then some may be gone
	default:
		l.lists.from = now.Add(unlisted)
		if errors.Is(err, providers.ErrThrottled) {
			_ = errors.As(err, &throttled)
			l.pace.slowDown(throttled.After)
		}
	}
}

// unlike moves the jobs of a call that have another version, or none, to those
// that want a new answer. The lock of the line is held.
func (c *call) unlike(r fetch.Result) {
	if !r.Unchanged {
		return
	}
	c.jobs = slices.DeleteFunc(c.jobs, func(j *job) bool {
		if j.have[c.read] == r.Version {
			return false
		}
		c.next, c.urgent = append(c.next, j), min(c.urgent, Periodic)
		return true
	})
}
