// Package fake is a store that holds what it gives in its own spec: for tests
// and examples.
package fake

import (
	"context"
	"fmt"
	"slices"
	"strings"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// The numbers of validationResult that are no error.
const (
	ready   = 0
	unknown = 1
)

// Open opens a store.
func Open(_ context.Context, config providers.Config) (providers.Reader, error) {
	p := config.Provider.Fake
	if p == nil {
		return nil, fmt.Errorf("spec.provider.fake: %w: it is missing", providers.ErrInvalid)
	}
	if r := p.ValidationResult; r != nil && *r != ready && *r != unknown {
		return nil, fmt.Errorf("spec.provider.fake.validationResult: %w: it is %d, an error", providers.ErrUnavailable, *r)
	}
	return reader(slices.Clone(p.Data)), nil
}

// reader is the data of a store.
type reader []esv1.FakeSecret

// Read implements providers.Reader. An empty version is that of an entry
// without one; of several the last counts.
func (r reader) Read(ctx context.Context, ref providers.Ref) (providers.Value, error) {
	if err := ctx.Err(); err != nil {
		return providers.Value{}, fmt.Errorf("read secret %q: %w", ref.Path, err)
	}
	for _, s := range slices.Backward(r) {
		if s.Key == ref.Path && s.Version == ref.Version {
			return providers.NewValue([]byte(s.Value)), nil
		}
	}
	return providers.Value{}, fmt.Errorf("read secret %q: %w: not in spec.provider.fake.data in version %q", ref.Path, providers.ErrNotFound, ref.Version)
}

// Find implements providers.Finder.
func (r reader) Find(_ context.Context, q providers.Query) ([]string, error) {
	if len(q.Tags) > 0 {
		return nil, fmt.Errorf("find.tags: %w: a fake store has none", providers.ErrInvalid)
	}
	var found []string
	for _, s := range r {
		if s.Version == "" && strings.HasPrefix(s.Key, q.Path) && (q.Name == nil || q.Name.MatchString(s.Key)) {
			found = append(found, s.Key)
		}
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}
