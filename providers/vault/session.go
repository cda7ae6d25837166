package vault

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/lockstep-dev/lockstep/providers"
)

// token is what a login gives.
type token struct {
	value providers.Value
	ttl   time.Duration // 0: for ever
}

// session keeps a token for as long as it is valid, and logs in once however
// many goroutines ask.
type session struct {
	login  func(context.Context) (token, error)
	clock  func() time.Time
	flight singleflight.Group

	mu    sync.Mutex
	value *providers.Value
	until time.Time // when to log in again; zero: never
}

// maxEarly is how long before its end a token is no longer used, at most: time
// enough for a request under way, and for clocks that differ a little.
const maxEarly = 30 * time.Second

// until returns when to log in again with a token that lives for ttl.
func until(now time.Time, ttl time.Duration) time.Time {
	if ttl <= 0 {
		return time.Time{}
	}
	return now.Add(ttl - min(maxEarly, ttl/5))
}

// token returns a valid token other than rejected, which may be empty.
func (s *session) token(ctx context.Context, rejected providers.Value) (providers.Value, error) {
	if t, ok := s.valid(rejected); ok {
		return t, nil
	}
	result := s.flight.DoChan("", func() (any, error) {
		if t, ok := s.valid(rejected); ok {
			return t, nil // a login has ended since
		}
		// The one who asked first may give up; the others still want it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*requestTimeout)
		defer cancel()
		start := s.clock()
		t, err := s.login(ctx)
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.value, s.until = &t.value, until(start, t.ttl)
		return t.value, nil
	})
	select {
	case <-ctx.Done():
		return providers.Value{}, fmt.Errorf("log in to Vault: %w", ctx.Err())
	case r := <-result:
		if r.Err != nil {
			return providers.Value{}, r.Err
		}
		value, _ := r.Val.(providers.Value) // the function above returns nothing else
		return value, nil
	}
}

func (s *session) valid(rejected providers.Value) (providers.Value, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.value == nil || (!s.until.IsZero() && !s.clock().Before(s.until)) {
		return providers.Value{}, false
	}
	if len(rejected.Bytes()) > 0 && s.value.Equal(rejected) {
		return providers.Value{}, false
	}
	return *s.value, true
}
