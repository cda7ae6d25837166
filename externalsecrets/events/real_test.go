package events_test

import (
	"testing"
	"time"
)

// paths are all ways in which services tell of changes.
var paths = map[string]func(*testing.T) *path{"EventBridge": eventBridge, "PubSub": pubSub, "VaultEvents": vaultEvents, "Webhook": webhook}

const value = "1234567890"

// settle is how long nothing may follow: more than an object waits that is told
// again, and ten times what a read takes.
const settle = 1200 * time.Millisecond

// change changes a secret, and has the service tell.
func (p *path) change(b *bench, key, value string) {
	b.t.Helper()
	p.put(key, value)
	if !p.tells {
		p.tell(b, key)
	}
}

// whole is what a whole secret reads as that was put.
func (p *path) whole(value string) string {
	if p.provider["vault"] != nil {
		return `{"v":"` + value + `"}`
	}
	return value
}

// TestEventsInsteadOfPolling has each service tell of a change, and counts what
// it is read at: once, and nothing else.
func TestEventsInsteadOfPolling(t *testing.T) {
	for name, of := range paths {
		t.Run(name, func(t *testing.T) {
			p := of(t)
			b := start(t, p.registry)
			app, other := "app-"+b.ns, "other-"+b.ns
			p.put(app, value+"a")
			p.put(other, value+"b")
			b.store(p.provider, p.credentials, p.annotations)
			b.external("app", app, time.Hour)
			b.external("other", other, time.Hour)
			b.holds("app", p.whole(value+"a"))
			b.holds("other", p.whole(value+"b"))

			p.nonsense(b)
			time.Sleep(settle) // what was put before may be told now
			before := p.reads()
			p.nonsense(b)
			time.Sleep(settle)
			if n := p.reads() - before; n != 0 {
				t.Errorf("messages about nothing that is read: %d reads, want none", n)
			}
			p.change(b, app, value+"c")
			secret := b.holds("app", p.whole(value+"c"))
			time.Sleep(settle)
			if n := p.reads() - before; n != 1 {
				t.Errorf("a change: %d reads, want one", n)
			}

			p.tell(b, app) // again, as queues do
			time.Sleep(settle)
			if n := p.reads() - before; n != 2 {
				t.Errorf("the same message again: %d reads in all, want two", n)
			}
			begin := time.Now()
			for range 100 {
				p.tell(b, app)
			}
			time.Sleep(settle)
			if n, most := p.reads()-before-2, int(time.Since(begin)/time.Second)+1; n < 1 || n > most {
				t.Errorf("100 messages in %s: %d reads, want 1 to %d", time.Since(begin), n, most)
			}
			if again := b.holds("app", p.whole(value+"c")); again.ResourceVersion != secret.ResourceVersion {
				t.Error("messages without a change have written the Secret")
			}
			if b.told() {
				t.Error("the store has a warning about its events")
			}
		})
	}
}

// TestEventsEnd takes away what tells of changes: the store says so, intervals
// go on, and when it is back it is listened to.
func TestEventsEnd(t *testing.T) {
	for name, of := range paths {
		if name == "Webhook" {
			continue // who calls one is not listened to
		}
		t.Run(name, func(t *testing.T) {
			p := of(t)
			b := start(t, p.registry)
			app, polled := "app-"+b.ns, "polled-"+b.ns
			p.put(app, value+"a")
			p.put(polled, value+"a")
			b.store(p.provider, p.credentials, p.annotations)
			b.external("app", app, time.Hour)
			b.external("polled", polled, time.Second)
			b.holds("app", p.whole(value+"a"))
			p.change(b, app, value+"b")
			b.holds("app", p.whole(value+"b")) // it is listened to

			p.away()
			b.eventually("a warning", func() string { return map[bool]string{false: "none"}[b.told()] })
			p.put(app, value+"c")
			p.put(polled, value+"c")
			b.holds("polled", p.whole(value+"c"))
			b.holds("app", p.whole(value+"b"))
			p.back()
			p.change(b, app, value+"d")
			b.holds("app", p.whole(value+"d"))
		})
	}
}
