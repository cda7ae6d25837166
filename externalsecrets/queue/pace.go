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

	mu      sync.Mutex
	until   time.Time // no request before
	refused bool      // ever
}

const (
	// fastest is how many requests a second a store gets unless it asks for
	// fewer: below the limits of every service that has one, by default.
	fastest = 200
	slowest = 1
	burst   = 10

	// A store begins with start requests a second. As long as it has refused
	// none, they grow by the part grows in each second; afterwards by one for
	// every hundred that it answered, and each refusal takes a fifth. So the
	// first refusals are few, and the pace stays just below what is allowed.
	start   = 50
	grows   = 0.15
	regrows = 0.01
	cut     = 0.8

	// defaultPause is how long a store is left alone that asks for it without
	// saying how long.
	defaultPause = time.Second
)

func newPace() *pace { return &pace{limit: rate.NewLimiter(start, burst)} }

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

// slowDown takes back the rate, and pauses. Requests that were on their way when
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
	p.until, p.refused = now.Add(after), true
	p.limit.SetLimit(max(p.limit.Limit()*cut, slowest))
	p.limit.SetBurst(1)
}

// speedUp lets the rate grow after a request that was answered.
func (p *pace) speedUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	limit, more := p.limit.Limit(), rate.Limit(grows)
	if p.refused {
		more = regrows
	}
	if limit < fastest {
		p.limit.SetLimit(min(limit+more, fastest))
	}
}
