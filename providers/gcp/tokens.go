package gcp

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// token is an access token.
type token struct {
	value   string
	expires time.Time
}

// early is how long before its end a token is no longer used: time enough for
// a request under way, and for clocks that differ a little.
const early = time.Minute

// tokens keeps a token for as long as it is valid, and gets one once however
// many goroutines ask.
type tokens struct {
	fresh  func(context.Context) (token, error)
	flight singleflight.Group

	mu  sync.Mutex
	now token
}

func newTokens(fresh func(context.Context) (token, error)) *tokens { return &tokens{fresh: fresh} }

func (t *tokens) valid(rejected string) (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.now.value, t.now.value != "" && t.now.value != rejected && time.Until(t.now.expires) > early
}

// get returns a valid token other than rejected, which may be empty.
func (t *tokens) get(ctx context.Context, rejected string) (string, error) {
	if value, ok := t.valid(rejected); ok {
		return value, nil
	}
	result := t.flight.DoChan("", func() (any, error) {
		if value, ok := t.valid(rejected); ok {
			return value, nil
		}
		// The one who asked first may give up; the others still want it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*requestTimeout)
		defer cancel()
		got, err := t.fresh(ctx)
		if err != nil {
			return "", err
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.now = got
		return got.value, nil
	})
	select {
	case <-ctx.Done():
		return "", fmt.Errorf("get a token of Google: %w", ctx.Err())
	case r := <-result:
		value, _ := r.Val.(string) // the function above returns nothing else
		return value, r.Err
	}
}
