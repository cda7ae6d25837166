package reseal_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	lockstepv1alpha1 "github.com/lockstep-dev/lockstep/apis/lockstep/v1alpha1"
)

// killer is a proxy in front of the Git server that ends the controller at a
// request: before the server gets it, or once it has answered.
type killer struct {
	forward http.Handler

	mu     sync.Mutex
	left   int // requests until then; below 0 is never
	before bool
	fired  bool
	kill   func()
}

func (k *killer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	k.left--
	now, before, kill := k.left == 0, k.before, k.kill
	k.fired = k.fired || now
	k.mu.Unlock()
	if now && before {
		kill()
		panic(http.ErrAbortHandler) // nobody waits for an answer
	}
	k.forward.ServeHTTP(w, r)
	if now {
		go kill()
	}
}

// at arms the killer, and returns a channel that is closed when it has killed.
func (k *killer) at(request int, before bool, stop func()) <-chan struct{} {
	killed := make(chan struct{})
	k.mu.Lock()
	defer k.mu.Unlock()
	k.left, k.before, k.fired = request, before, false
	k.kill = func() { stop(); close(killed) }
	return killed
}

// disarm keeps the killer from killing from now on, and reports whether it has
// killed. It waits for the end of a killing that has begun.
func (k *killer) disarm(killed <-chan struct{}) bool {
	k.mu.Lock()
	k.left = -1
	fired := k.fired
	k.mu.Unlock()
	if fired {
		<-killed
	}
	return fired
}

func newKiller(t *testing.T, b *bench) *killer {
	t.Helper()
	target, err := url.Parse(b.repo.URL())
	if err != nil {
		t.Fatal(err)
	}
	k := &killer{left: -1, forward: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: target.Scheme, Host: target.Host})
	}}}
	proxy := httptest.NewServer(k)
	t.Cleanup(proxy.Close)
	g := &sourcev1.GitRepository{}
	if err := b.Get(t.Context(), client.ObjectKey{Namespace: b.ns, Name: "fleet"}, g); err != nil {
		t.Fatal(err)
	}
	g.Spec.URL = proxy.URL + target.Path
	if err := b.Update(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	return k
}

// Whichever request to the Git server is the last one before the controller
// ends, the one that starts then brings it to its end: one commit for each new
// key, and at no time a value that does not open.
func TestKilledAnywhere(t *testing.T) {
	b := newBench(t)
	stop := b.run()
	before := b.commit(map[string]string{"a.yaml": b.manifest("a", "password")})
	b.sync()
	b.source()
	k := newKiller(t, b)
	b.reseal(nil)
	b.until("nothing to do", func(_ *lockstepv1alpha1.Reseal, reason string) bool { return reason == "Resealed" })
	kills := 0
	for request := 1; ; request++ {
		first := request%2 == 0
		killed := k.at(request, first, stop)
		newest := b.key()
		done := func(r *lockstepv1alpha1.Reseal, reason string) bool {
			return r.Status.Key == newest && len(r.Status.Needed) == 0 && (reason == "Resealed" || reason == "Syncing")
		}
		eventually(t, fmt.Sprintf("request %d, or the end", request), func() bool { return isClosed(killed) || done(b.status()) })
		died := k.disarm(killed)
		if died {
			kills++
			stop = b.run()
			b.until("the end", done)
		}
		b.sync()
		if n := b.git("rev-list", "--count", before+"..origin/main"); n != "1" {
			t.Fatalf("killed at request %d (before it: %t): %s commits were made, want one", request, first, n)
		}
		b.onlyCiphertexts(before, "origin/main")
		before = b.git("rev-parse", "origin/main")
		b.opens("a.yaml", newest)
		t.Logf("request %d: killed %t", request, died)
		if !died {
			break
		}
	}
	if kills < 3 {
		t.Errorf("it was killed at %d requests", kills)
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
