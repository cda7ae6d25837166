package gcp

import (
	"context"
	"fmt"
	"sync"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"

	"github.com/lockstep-dev/lockstep/providers"
)

// Ambient returns what gives tokens of the identity that Google gives to the
// controller itself: by the environment, or the metadata service of the
// machine. It is looked up when a store needs it for the first time. It is for
// Endpoints.Ambient: only stores that may use it get it.
func Ambient() func(ctx context.Context) (string, time.Time, error) {
	var mu sync.Mutex
	var found *auth.Credentials
	return func(ctx context.Context) (string, time.Time, error) {
		mu.Lock()
		defer mu.Unlock()
		if found == nil {
			c, err := credentials.DetectDefault(&credentials.DetectOptions{Scopes: []string{scope}})
			if err != nil {
				return "", time.Time{}, fmt.Errorf("%w: Google gives the controller no identity of its own", providers.ErrDenied)
			}
			found = c
		}
		t, err := found.Token(ctx)
		if err != nil {
			return "", time.Time{}, fmt.Errorf("%w: Google gives the controller no token", providers.ErrUnavailable)
		}
		return t.Value, t.Expiry, nil
	}
}
