package events

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/providers"
)

// How soon a source is tried again that failed; the time doubles with each
// failure in a row. One that listened for steady has recovered.
const (
	firstRetry = time.Second
	lastRetry  = time.Minute
	steady     = 5 * time.Minute
)

// listeners are what listens, by store. The zero value is ready to use.
type listeners struct {
	mu sync.Mutex
	m  map[Store]*listener
}

type listener struct {
	version string // of the store
	stop    context.CancelFunc
	done    chan struct{}
}

// set makes a store be listened to by one listener for its version, or with an
// empty version by none.
func (l *listeners) set(store Store, version string, listen func(ctx context.Context)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.m[store]; now != nil {
		if now.version == version {
			return
		}
		now.stop()
		<-now.done // or two could take from one queue
		delete(l.m, store)
	}
	if version == "" {
		return
	}
	if l.m == nil {
		l.m = map[Store]*listener{}
	}
	ctx, cancel := context.WithCancel(context.Background()) //nolint:forbidigo // it ends when the store does, or the process
	started := &listener{version: version, stop: cancel, done: make(chan struct{})}
	l.m[store] = started
	go func() {
		defer close(started.done)
		listen(ctx)
	}()
}

// close ends them all.
func (l *listeners) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for store, now := range l.m {
		now.stop()
		<-now.done
		delete(l.m, store)
	}
}

// listen hands on what a source of a store tells, until ctx ends or the source
// can never work. failed is told why it does not at the moment, and why it
// never will.
func listen(ctx context.Context, source string, open func(context.Context) (providers.Reader, error), changed func(keys ...string), failed func(error)) {
	wait := firstRetry
	for ctx.Err() == nil {
		begin := time.Now() //nolint:forbidigo // decides about load only
		err := watch(ctx, source, open, changed)
		if ctx.Err() != nil {
			return
		}
		failed(err)
		if errors.Is(err, errNoWatcher) {
			return
		}
		if time.Since(begin) >= steady {
			wait = firstRetry
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, lastRetry)
	}
}

// errNoWatcher says that a provider tells of no changes.
var errNoWatcher = fmt.Errorf("annotation %s: %w: this provider has no events to listen to: remove it, and use the webhook of annotation %s", AnnotationSource, providers.ErrInvalid, AnnotationKey)

func watch(ctx context.Context, source string, open func(context.Context) (providers.Reader, error), changed func(keys ...string)) error {
	reader, err := open(ctx)
	if err != nil {
		return err
	}
	w, ok := reader.(providers.Watcher)
	if !ok {
		return errNoWatcher
	}
	return w.Watch(ctx, source, changed)
}
