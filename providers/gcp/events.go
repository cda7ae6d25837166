package gcp

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	pubsub "cloud.google.com/go/pubsub/v2/apiv1"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/lockstep-dev/lockstep/providers"
)

// subscriptions is how Pub/Sub names one.
var subscriptions = regexp.MustCompile(`^projects/[^/ ]+/subscriptions/[A-Za-z][A-Za-z0-9._~+%-]{2,254}$`)

const (
	// messages is how many one request takes.
	messages = 100
	// emptyPause is how long to wait after an answer without messages: Pub/Sub
	// may give one at once.
	emptyPause = time.Second
)

// Watch implements providers.Watcher: source is a subscription of a Pub/Sub
// topic that the secrets send their changes to.
// Source: https://cloud.google.com/secret-manager/docs/event-notifications
func (r *reader) Watch(ctx context.Context, source string, changed func(keys ...string)) error {
	if !subscriptions.MatchString(source) {
		return fmt.Errorf("%w: the source must be projects/PROJECT/subscriptions/NAME", providers.ErrInvalid)
	}
	conn, err := r.dial(r.pubsub)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // nothing is on its way
	client, err := pubsub.NewSubscriptionAdminClient(ctx, option.WithGRPCConn(conn))
	if err != nil {
		return fmt.Errorf("make a client of Pub/Sub: %w", providers.ErrInvalid)
	}
	*client.CallOptions = pubsub.SubscriptionAdminCallOptions{} // those of the library retry
	for {
		if err := r.pull(ctx, client, source, changed); err != nil {
			return err
		}
	}
}

// pull takes what there is, and hands it on.
func (r *reader) pull(ctx context.Context, client *pubsub.SubscriptionAdminClient, source string, changed func(keys ...string)) error {
	out, err := call(ctx, r, func(ctx context.Context) (*pubsubpb.PullResponse, error) {
		out, err := client.Pull(ctx, &pubsubpb.PullRequest{Subscription: source, MaxMessages: messages})
		if status.Code(err) == codes.DeadlineExceeded {
			return nil, nil //nolint:nilnil // it waited for messages, and there were none: the zero value says so
		}
		return out, err //nolint:wrapcheck // call classifies it
	})
	if err != nil {
		return fmt.Errorf("pull from the subscription: %w", err)
	}
	var ids []string
	for _, m := range out.GetReceivedMessages() {
		ids = append(ids, m.GetAckId())
		if key, ok := r.keyOf(m.GetMessage().GetAttributes()["secretId"]); ok {
			changed(key)
		}
	}
	if len(ids) == 0 {
		return pause(ctx)
	}
	// A hint that is lost costs nothing but time: it is not kept until the reads
	// are done.
	_, err = call(ctx, r, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, client.Acknowledge(ctx, &pubsubpb.AcknowledgeRequest{Subscription: source, AckIds: ids})
	})
	if err != nil {
		return fmt.Errorf("acknowledge what the subscription sent: %w", err)
	}
	return nil
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(emptyPause):
		return nil
	}
}

// keyOf returns what a store calls a secret, which events name with the number
// of its project: projects/1/secrets/db. False if it is none, or in another
// location.
func (r *reader) keyOf(name string) (string, bool) {
	parts := strings.Split(name, "/")
	switch {
	case len(parts) == 4 && parts[2] == "secrets" && r.location == "":
		return parts[3], true
	case len(parts) == 6 && parts[4] == "secrets" && parts[3] == r.location:
		return parts[5], true
	default:
		return "", false
	}
}
