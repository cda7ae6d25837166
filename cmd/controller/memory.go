package main

import (
	"context"
	"os"
	"runtime/debug"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// gcPercent is how much the heap may grow between two collections, in percent
// of what is live. Half of Go's default: what the controller works with is
// short-lived and small, and its processor time goes to cryptography.
const gcPercent = 50

// trim keeps the controller small: it gives back to the system what only the
// start needed, once the caches are filled. GOGC in the environment wins.
func trim(mgr ctrl.Manager) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	return mgr.Add(onEveryReplica(func(ctx context.Context) error {
		if mgr.GetCache().WaitForCacheSync(ctx) {
			debug.FreeOSMemory()
			if err := forgetCode(); err != nil {
				ctrl.LoggerFrom(ctx).Info("The pages of code that only the start needed stay resident.", "reason", err.Error())
			}
		}
		return nil
	}))
}

// onEveryReplica is a part of the manager that does not wait to lead.
type onEveryReplica func(ctx context.Context) error

var _ manager.LeaderElectionRunnable = onEveryReplica(nil)

// Start implements manager.Runnable.
func (f onEveryReplica) Start(ctx context.Context) error { return f(ctx) }

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (onEveryReplica) NeedLeaderElection() bool { return false }
