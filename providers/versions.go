package providers

import (
	"context"
	"fmt"
	"time"
)

// A VersionLister is a BatchReader that can list the versions of many secrets
// with fewer requests than it takes to read them.
type VersionLister interface {
	BatchReader
	// Listing says what a list is worth. One whose PerPage is 0 must not be asked
	// for.
	Listing() Listing
	// Versions reads one page of the list: the first, or that which next of the
	// one before names. It returns the version of each of refs that is on it, as
	// Result.Version spells it, and what names the next page; "" after the last.
	Versions(ctx context.Context, page string, refs []Ref) (versions map[Ref]string, next string, err error)
}

// Listing is what a list of versions is worth.
type Listing struct {
	PerPage int           // secrets
	Late    time.Duration // by how much a list may be older than the answer to a read
}

// Listing implements VersionLister; of a store that lists no versions it is
// zero.
func (r retriedBatches) Listing() Listing {
	if l, ok := r.to.(VersionLister); ok {
		return l.Listing()
	}
	return Listing{}
}

// Versions implements VersionLister.
func (r retriedBatches) Versions(ctx context.Context, page string, refs []Ref) (versions map[Ref]string, next string, err error) {
	l, ok := r.to.(VersionLister)
	if !ok {
		return nil, "", fmt.Errorf("list versions: %w: this provider lists none", ErrInvalid)
	}
	err = r.by.do(ctx, func() error { versions, next, err = l.Versions(ctx, page, refs); return err })
	return versions, next, err
}
