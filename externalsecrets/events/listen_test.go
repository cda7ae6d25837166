package events

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/providers"
)

// source is a service that tells of changes.
type source struct {
	tells  chan string // "" breaks the connection
	opened []time.Time
}

// Read implements providers.Reader.
func (*source) Read(context.Context, providers.Ref) (providers.Value, error) {
	return providers.Value{}, errors.New("events are not read for")
}

// Watch implements providers.Watcher.
func (s *source) Watch(ctx context.Context, _ string, changed func(keys ...string)) error {
	s.opened = append(s.opened, time.Now())
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case key := <-s.tells:
			if key == "" {
				return providers.ErrUnavailable
			}
			changed(key)
		}
	}
}

func TestListen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{tells: make(chan string)}
		ctx, cancel := context.WithCancel(t.Context())
		var got []string
		var failures []error
		done := make(chan struct{})
		go func() {
			defer close(done)
			listen(ctx, "queue", func(context.Context) (providers.Reader, error) { return s, nil },
				func(keys ...string) { got = append(got, keys...) }, func(err error) { failures = append(failures, err) })
		}()
		s.tells <- "a"
		for range 8 {
			s.tells <- ""
		}
		s.tells <- "b"
		cancel()
		<-done
		if !slices.Equal(got, []string{"a", "b"}) || len(failures) != 8 {
			t.Errorf("got %v with %d failures, want a and b with 8", got, len(failures))
		}
		if last := s.opened[8].Sub(s.opened[7]); last != lastRetry {
			t.Errorf("after 8 failures it was tried again after %s, want %s", last, lastRetry)
		}
	})
}

// reader tells nothing.
type reader struct{ providers.Reader }

func TestListenWithoutEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failures []error
		listen(t.Context(), "queue", func(context.Context) (providers.Reader, error) { return reader{}, nil }, nil, func(err error) { failures = append(failures, err) })
		if len(failures) != 1 || !errors.Is(failures[0], providers.ErrInvalid) {
			t.Errorf("got %v, want one ErrInvalid and no more tries", failures)
		}
	})
}

func TestListeners(t *testing.T) {
	var l listeners
	started, ended := 0, 0
	set := func(store Store, version string) {
		running := make(chan struct{})
		if version == "" {
			close(running)
		}
		l.set(store, version, func(ctx context.Context) {
			started++
			close(running)
			<-ctx.Done()
			ended++
		})
		<-running
	}
	a := Store{"ns", "a"}
	set(a, "1")
	l.set(a, "1", func(context.Context) { t.Error("the same version was started twice") })
	set(a, "2")
	if started != 2 || ended != 1 {
		t.Errorf("a new version: %d were started and %d ended, want 2 and 1", started, ended)
	}
	set(a, "")
	if ended != 2 {
		t.Errorf("without the annotation: %d ended, want 2", ended)
	}
	set(Store{"", "b"}, "1")
	l.close()
	if started != 3 || ended != 3 {
		t.Errorf("at the end: %d were started and %d ended, want 3 and 3", started, ended)
	}
}
