package gcp

import (
	"context"

	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"

	"github.com/lockstep-dev/lockstep/providers"
)

// Describe returns what Google knows of a secret besides its value.
func Describe(ctx context.Context, r providers.Reader, path string) (*secretmanagerpb.Secret, error) {
	return r.(*reader).describe(ctx, path)
}

// SecretSettings are what the metadata of a PushSecret is decoded into.
type SecretSettings = secretSettings
