package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// gcPercent is how much the heap may grow between two collections, in percent
// of what is live. Half of Go's default: what the controller works with is
// short-lived and small, and its processor time goes to cryptography.
const gcPercent = 50

// settled is when the first look at every object is over, after the caches are
// filled. heldMax is how much memory that holds nothing the heap may keep, in
// bytes, for the next burst of work; heldFor is how long it may keep more.
const (
	settled = 5 * time.Second
	heldMax = 8 << 20
	heldFor = 30 * time.Second
)

// trim keeps the controller small: it gives back to the system what only the
// start needed, once the caches are filled, and later what only a burst of work
// did. GOGC in the environment wins.
func trim(mgr ctrl.Manager) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	return mgr.Add(onEveryReplica(func(ctx context.Context) error {
		if !mgr.GetCache().WaitForCacheSync(ctx) {
			return nil
		}
		giveBack(ctx)
		wait := settled
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(wait):
				if wait == settled || held() > heldMax {
					giveBack(ctx)
				} else {
					giveCodeBack(ctx)
				}
				wait = heldFor
			}
		}
	}))
}

func giveBack(ctx context.Context) {
	debug.FreeOSMemory()
	giveCodeBack(ctx)
}

// giveCodeBack costs a millisecond: what is in use comes back by a few hundred
// faults that need no disk.
func giveCodeBack(ctx context.Context) {
	if err := forgetCode(); err != nil {
		ctrl.LoggerFrom(ctx).Info("The pages of code that are not used stay resident.", "reason", err.Error())
	}
}

// held returns how many bytes the heap has from the system for nothing that
// lives: what is free, and what has died since the last collection.
// Source: https://pkg.go.dev/runtime/metrics
func held() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	free, objects, live := s[0].Value.Uint64(), s[1].Value.Uint64(), s[2].Value.Uint64()
	return free + objects - min(live, objects)
}

// onEveryReplica is a part of the manager that does not wait to lead.
type onEveryReplica func(ctx context.Context) error

var _ manager.LeaderElectionRunnable = onEveryReplica(nil)

// Start implements manager.Runnable.
func (f onEveryReplica) Start(ctx context.Context) error { return f(ctx) }

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (onEveryReplica) NeedLeaderElection() bool { return false }
