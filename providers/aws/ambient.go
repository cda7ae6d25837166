package aws

import (
	"context"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
)

// Ambient returns the identity that AWS gives to the controller itself: by the
// environment, a role of its ServiceAccount (IRSA), EKS Pod Identity or the
// role of the node, in the SDK's order. It is looked up when a store needs it
// for the first time. It is for Endpoints.Ambient: only stores that may use it
// get it.
func Ambient() aws.CredentialsProvider {
	load := sync.OnceValues(func() (aws.CredentialsProvider, error) {
		c, err := config.LoadDefaultConfig(context.Background())
		return c.Credentials, err
	})
	return aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
		keys, err := load()
		if err != nil {
			return aws.Credentials{}, own("the controller's own identity: the settings of AWS in its environment cannot be read")
		}
		got, err := keys.Retrieve(ctx)
		if err != nil {
			return aws.Credentials{}, fmt.Errorf("the controller's own identity: %w", classify(ctx, err, "AWS"))
		}
		return got, nil
	})
}
