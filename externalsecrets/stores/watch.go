package stores

import (
	"context"
	"fmt"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// Open returns the open reader of a store itself, on behalf of no namespace,
// to listen to what its service tells. It must not be used to read.
func (s *Stores) Open(ctx context.Context, store esv1.GenericStore) (providers.Reader, error) {
	if !s.serves(store) {
		return nil, fmt.Errorf("%w: it is for class %q", ErrOtherClass, store.StoreSpec().Controller)
	}
	if err := checkSpec(store); err != nil {
		return nil, err
	}
	reader, err := s.reader(ctx, store, "", 0)
	return providers.WithoutRetries(reader), err // who listens tries again by himself
}
