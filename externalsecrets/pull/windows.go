package pull

import (
	"fmt"
	"time"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// windows are the times at which a store may be read because an interval is
// over. Nil is at any time. What someone asks for is read at any time, too.
type windows struct {
	deny bool
	all  []opening
}

// opening is a window that opens again and again.
type opening struct {
	schedule *schedule
	length   time.Duration
}

func newWindows(spec *esv1.SyncWindows) (*windows, error) {
	if spec == nil {
		return nil, nil
	}
	w := &windows{deny: spec.Kind == "deny"}
	if spec.Kind != "allow" && !w.deny {
		return nil, fmt.Errorf("spec.syncWindows.kind: %w: %q is neither allow nor deny", providers.ErrInvalid, spec.Kind)
	}
	if len(spec.Windows) == 0 {
		return nil, fmt.Errorf("spec.syncWindows.windows: %w: there is none: add one, or remove syncWindows", providers.ErrInvalid)
	}
	for i, s := range spec.Windows {
		field := fmt.Sprintf("spec.syncWindows.windows[%d]", i)
		parsed, err := parseSchedule(s.Schedule)
		if err != nil {
			return nil, fmt.Errorf("%s.schedule: %w: %w", field, providers.ErrInvalid, err)
		}
		length, err := time.ParseDuration(s.Duration)
		if err != nil || length <= 0 {
			return nil, fmt.Errorf("%s.duration: %w: %q is no duration above 0, such as 2h", field, providers.ErrInvalid, s.Duration)
		}
		w.all = append(w.all, opening{parsed, length})
	}
	return w, nil
}

// end is when the window that is open at t closes; the zero time if none is.
func (o opening) end(t time.Time) time.Time {
	var end time.Time
	for s := o.schedule.next(t.Add(-o.length)); !s.IsZero() && !s.After(t); s = o.schedule.next(s) {
		end = s.Add(o.length)
	}
	return end
}

// admits reports whether t is a time to read.
func (w *windows) admits(t time.Time) bool { return w == nil || w.first(t).Equal(t) }

// first is the first time to read at or after t; the zero time if there is
// none within years.
func (w *windows) first(t time.Time) time.Time {
	if w == nil {
		return t
	}
	if w.deny {
		return w.afterAll(t)
	}
	var soonest time.Time
	for _, o := range w.all {
		if !o.end(t).IsZero() {
			return t
		}
		if s := o.schedule.next(t); soonest.IsZero() || !s.IsZero() && s.Before(soonest) {
			soonest = s
		}
	}
	return soonest
}

// maxEdges bounds the windows that follow one another without a gap.
const maxEdges = 1000

// afterAll is the first time at or after t at which no window is open.
func (w *windows) afterAll(t time.Time) time.Time {
	for range maxEdges {
		end := time.Time{}
		for _, o := range w.all {
			if e := o.end(t); e.After(end) {
				end = e
			}
		}
		if end.IsZero() {
			return t
		}
		t = end
	}
	return time.Time{}
}
