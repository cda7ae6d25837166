package keys

import (
	"context"

	ctrl "sigs.k8s.io/controller-runtime"
)

// asked makes a key each time that someone asks for one. It implements
// manager.LeaderElectionRunnable.
type asked struct{ c *Controller }

// NeedLeaderElection says no: whoever asks one replica wants one key, whichever
// it is.
func (asked) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (a asked) Start(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.c.Asked:
			if err := a.c.another(ctx); err != nil && ctx.Err() == nil {
				ctrl.LoggerFrom(ctx).Error(err, "no sealing key was made, though one was asked for")
			}
		}
	}
}

// another makes a key, whether one is due or not. Unlike ensure it does so even
// where SealedSecrets need keys that are not here: that is what is asked for.
func (c *Controller) another(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	secrets, err := c.list(ctx)
	if err != nil {
		return err
	}
	c.fill(secrets)
	return c.add(ctx)
}
