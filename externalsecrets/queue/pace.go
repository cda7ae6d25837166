package queue

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// pace is how fast requests follow one another.
type pace struct {
	limit *rate.Limiter

	mu    sync.Mutex
	until time.Time // no request before
}

const (
	// fastest is how many requests a second a store gets unless it asks for
	// fewer: below the limits of every service that has one, by default.
	fastest = 200
	burst   = 20
	slowest = 1

	// defaultPause is how long a store is left alone that asks for it without
	// saying how long.
	defaultPause = time.Second
)

func newPace() *pace { return &pace{limit: rate.NewLimiter(fastest, burst)} }

// wait returns when the next request may go.
func (p *pace) wait(ctx context.Context) {
	for {
		p.mu.Lock()
		left := time.Until(p.until)
		p.mu.Unlock()
		if left <= 0 {
			break
		}
		<-time.After(left)
	}
	_ = p.limit.Wait(ctx) // it fails only with ctx, which has no end here
}

// slowDown halves the rate, and pauses. Requests that were on their way when
// the first was refused count as one refusal.
func (p *pace) slowDown(after time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now() //nolint:forbidigo // a line has the process's clock; tests have that of synctest
	if after <= 0 {
		after = defaultPause
	}
	if now.Before(p.until) {
		return
	}
	p.until = now.Add(after)
	p.limit.SetLimit(max(p.limit.Limit()/2, slowest))
	p.limit.SetBurst(1)
}

// speedUp lets the rate grow again, by one request a second every hundred.
func (p *pace) speedUp(requests int) {
	if limit := p.limit.Limit(); limit < fastest {
		p.limit.SetLimit(min(limit+rate.Limit(requests)/100, fastest))
	}
}
