package keys

import (
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// maxClients is how many clients have a budget of their own. Beyond it, all
	// the others share one.
	maxClients = 4096

	// idleClient is after how long a client is forgotten: by then its budget is
	// full again, with any limit above one item in three seconds.
	idleClient = 5 * time.Minute

	// perAddress is how many clients can use up their budgets at once behind
	// one address, as those of the API server's proxy are.
	perAddress = 4
)

// limiter bounds how many sealed values are opened on behalf of each client.
//
// There is no authenticated identity at this door: it is plain HTTP, and the
// API server's proxy, through which kubeseal comes, takes the credentials off
// and names nobody. What counts is the address of the connection, which cannot
// be forged. Behind one address clients are told apart by the last entry of
// X-Forwarded-For, which is the proxy's own; whoever makes that up gains
// nothing, for the address has a budget too.
type limiter struct {
	limit rate.Limit // items in a second
	burst int
	now   func() time.Time

	mu      sync.Mutex
	clients map[string]*budget
	swept   time.Time
}

type budget struct {
	*rate.Limiter
	seen time.Time
}

// allow says whether the sender of r may have items opened now.
func (l *limiter) allow(r *http.Request, items int) bool {
	if l.limit <= 0 {
		return true
	}
	address, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		address = r.RemoteAddr
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	l.sweep(now)
	// The address pays last, so that one of its clients cannot use up what is
	// for all of them with requests that are refused; but it is asked first, so
	// that made-up clients do not fill the memory.
	whole := l.budget(address, perAddress)
	if whole.TokensAt(now) < 1 {
		return false
	}
	client := "direct"
	if forwarded := r.Header.Values("X-Forwarded-For"); len(forwarded) > 0 {
		hops := strings.Split(forwarded[len(forwarded)-1], ",")
		client = strings.TrimSpace(hops[len(hops)-1])
	}
	return l.budget(address+" "+client, 1).take(items, now) && whole.take(items, now)
}

// budget returns that of a client, which is times the normal one.
func (l *limiter) budget(name string, times int) *budget {
	if l.clients == nil {
		l.clients = map[string]*budget{}
	}
	if _, ok := l.clients[name]; !ok && len(l.clients) >= maxClients {
		name = "everyone else"
	}
	if _, ok := l.clients[name]; !ok {
		l.clients[name] = &budget{Limiter: rate.NewLimiter(l.limit*rate.Limit(times), l.burst*times)}
	}
	return l.clients[name]
}

// take uses up a part of the budget. A request of more than all of it needs
// all of it.
func (b *budget) take(items int, now time.Time) bool {
	b.seen = now
	return b.AllowN(now, min(max(items, 1), b.Burst()))
}

// sweep forgets the clients that have not been seen for long.
func (l *limiter) sweep(now time.Time) {
	if now.Sub(l.swept) < idleClient {
		return
	}
	l.swept = now
	for name, c := range l.clients {
		if now.Sub(c.seen) > idleClient {
			delete(l.clients, name)
		}
	}
}
