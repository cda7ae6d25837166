package reconciler

import (
	"errors"
	"time"
)

// Error is an outcome of Apply that the Loop understands. An error of any
// other type is temporary: it is retried with exponential back-off.
type Error struct {
	Reason   string        // condition reason, CamelCase; part of the API
	After    time.Duration // fixed delay before the next try; 0 waits for a watched change
	Final    bool          // do not retry until the object or a watched one changes
	Progress bool          // nothing failed: the work goes on, and Ready is Unknown until it ends
	Err      error
}

// Error implements error: the text of what went wrong, without the reason,
// which the condition carries in a field of its own.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap lets errors.Is and errors.As see the cause.
func (e *Error) Unwrap() error { return e.Err }

// ErrPending says that Apply has begun something that will wake the object when
// it is done, and that nothing can be told until then: the status stays as it
// is.
var ErrPending = errors.New("on its way")

// Final says that no retry can help until something that the controller
// watches changes.
func Final(reason string, err error) error { return &Error{Reason: reason, Final: true, Err: err} }

// Wait says that err will pass, and when to look again. With after 0 only a
// watch wakes the object, so something watched must be what it waits for. It
// is not counted as a failure in the metrics.
func Wait(reason string, after time.Duration, err error) error {
	return &Error{Reason: reason, After: after, Err: err}
}

// Progressing says that nothing failed but the end is not reached yet. after
// is the time by which to look again if no watch does so before.
func Progressing(reason string, after time.Duration, err error) error {
	return &Error{Reason: reason, After: after, Progress: true, Err: err}
}

// Temporary gives a reason to an error that backing off and trying again may
// cure.
func Temporary(reason string, err error) error {
	return &temporary{reason: reason, err: err}
}

type temporary struct {
	reason string
	err    error
}

func (e *temporary) Error() string { return e.err.Error() }
func (e *temporary) Unwrap() error { return e.err }

// reasonOf returns the condition reason that err carries, or fallback.
func reasonOf(err error, fallback string) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	if t, ok := errors.AsType[*temporary](err); ok {
		return t.reason
	}
	return fallback
}
