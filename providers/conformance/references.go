package conformance

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// References are what the fields of a store refer to in a test. The zero value
// has nothing.
type References struct {
	// Authority is what CA returns.
	Authority []byte
	// TokenFn makes the tokens of ServiceAccounts.
	TokenFn func(ctx context.Context, account string, audiences []string) (string, error)
	// Accounts are the annotations of ServiceAccounts, by name.
	Accounts map[string]map[string]string

	mu        sync.Mutex
	secrets   map[string]string // by name/key
	audiences []string
	lifetime  time.Duration
}

// Set puts a value into a key of a Secret.
func (r *References) Set(name, key, value string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.secrets == nil {
		r.secrets = map[string]string{}
	}
	r.secrets[name+"/"+key] = value
}

// Audiences returns those that the last token was for.
func (r *References) Audiences() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.audiences)
}

// Lifetime returns how long the last token was to live; 0: nobody said.
func (r *References) Lifetime() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lifetime
}

// Secret implements providers.References.
func (r *References) Secret(_ context.Context, ref esv1.SecretKeySelector) (providers.Value, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok := r.secrets[ref.Name+"/"+ref.Key]
	if !ok {
		return providers.Value{}, fmt.Errorf("%w: Secret %q has no key %q", providers.ErrInvalid, ref.Name, ref.Key)
	}
	return providers.NewValue([]byte(v)), nil
}

// Keys implements providers.References.
func (r *References) Keys(_ context.Context, ref esv1.SecretKeySelector) (map[string]providers.Value, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := map[string]providers.Value{}
	for name, v := range r.secrets {
		if key, ok := strings.CutPrefix(name, ref.Name+"/"); ok {
			found[key] = providers.NewValue([]byte(v))
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%w: no Secret %q", providers.ErrInvalid, ref.Name)
	}
	return found, nil
}

// CA implements providers.References.
func (r *References) CA(_ context.Context, ref esv1.CAProvider) ([]byte, error) {
	if r.Authority == nil {
		return nil, fmt.Errorf("%w: no %s %q", providers.ErrInvalid, ref.Type, ref.Name)
	}
	return slices.Clone(r.Authority), nil
}

// Token implements providers.References.
func (r *References) Token(ctx context.Context, ref esv1.ServiceAccountSelector, audiences []string, lifetime time.Duration) (providers.Value, time.Time, error) {
	r.mu.Lock()
	r.audiences, r.lifetime = slices.Clone(audiences), lifetime
	r.mu.Unlock()
	if r.TokenFn == nil {
		return providers.Value{}, time.Time{}, fmt.Errorf("%w: no ServiceAccount %q", providers.ErrInvalid, ref.Name)
	}
	token, err := r.TokenFn(ctx, ref.Name, audiences)
	return providers.NewValue([]byte(token)), time.Date(9999, time.January, 1, 0, 0, 0, 0, time.UTC), err
}

// Annotations implements providers.References.
func (r *References) Annotations(_ context.Context, ref esv1.ServiceAccountSelector) (map[string]string, error) {
	annotations, ok := r.Accounts[ref.Name]
	if !ok {
		return nil, fmt.Errorf("%w: no ServiceAccount %q", providers.ErrInvalid, ref.Name)
	}
	return maps.Clone(annotations), nil
}
