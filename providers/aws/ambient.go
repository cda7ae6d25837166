package aws

import (
	"context"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/lockstep-dev/lockstep/providers"
)

// Ambient returns the identity that AWS gives to the controller itself: by the
// environment, a role of its ServiceAccount (IRSA), EKS Pod Identity or the
// role of the node, in the SDK's order. It is looked up when a store needs it
// for the first time. It is for Endpoints.Ambient: only stores that may use it
// get it.
func Ambient() aws.CredentialsProvider {
	var mu sync.Mutex
	var keys aws.CredentialsProvider
	return aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
		mu.Lock()
		defer mu.Unlock()
		if keys == nil {
			c, err := config.LoadDefaultConfig(ctx)
			if err != nil {
				return aws.Credentials{}, own("%w: the controller's own identity: the settings of AWS in its environment cannot be read", providers.ErrDenied)
			}
			keys = c.Credentials
		}
		got, err := keys.Retrieve(ctx)
		if code(err) != "" || ctx.Err() != nil { // someone answered, and it is not that there is no identity
			return aws.Credentials{}, own("the controller's own identity: %w", classify(ctx, err, "AWS"))
		}
		if err != nil {
			return aws.Credentials{}, own("%w: AWS gives the controller no identity of its own: set auth, or give it a role", providers.ErrDenied)
		}
		return got, nil
	})
}
