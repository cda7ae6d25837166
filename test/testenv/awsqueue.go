package testenv

import (
	"context"
	"net/http"
)

// Queue makes a queue of SQS that gets the events of the secrets of its region,
// as a rule of EventBridge sends them, with messages in it, and returns its URL.
// One that is there already gets the messages.
func (a *AWS) Queue(ctx context.Context, region, name string, messages ...string) (string, error) {
	var out struct{ Path string }
	err := a.admin(ctx, http.MethodPut, "queues", map[string]any{"region": region, "name": name, "messages": messages}, &out)
	return a.Address() + out.Path, err
}

// DeleteQueue deletes a queue with all that is in it.
func (a *AWS) DeleteQueue(ctx context.Context, region, name string) error {
	return a.admin(ctx, http.MethodPut, "queues", map[string]any{"region": region, "name": name, "delete": true}, nil)
}
