package providers

import "context"

// A Watcher is a Reader whose service tells of changes.
type Watcher interface {
	Reader
	// Watch calls changed for each secret that the service says has changed,
	// with all the ways in which Ref.Path may spell it, until ctx ends or it
	// can go on no longer, which it says why. source is where the service
	// tells it, as the annotation lockstep.dev/events of the store has it; one
	// that cannot be is an ErrInvalid.
	//
	// What it says is a hint only: it may come late, twice or not at all.
	Watch(ctx context.Context, source string, changed func(keys ...string)) error
}
