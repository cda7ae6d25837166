package oci

import (
	"context"
	"github.com/google/go-containerregistry/pkg/name"
)

func (f *fetcher) verify(ctx context.Context, r *run, digest name.Digest) error {
	verification(r.Object, "", nil)
	return nil
}
