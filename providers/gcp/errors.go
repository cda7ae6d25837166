package gcp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/api/iterator"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/egress"
)

// errNotEnabled says that a version is disabled or destroyed.
var errNotEnabled = fmt.Errorf("%w: the version is disabled or destroyed: enable it, add another, or set secretVersionSelectionPolicy to LatestOrFetch", providers.ErrDenied)

// classify says in our words what went wrong with a request. What Google says
// may repeat the request.
func (r *reader) classify(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("request to %s: %w", r.service, ctx.Err())
	case errors.Is(err, iterator.Done):
		return fmt.Errorf("%w: not in %s", providers.ErrNotFound, r.service)
	}
	switch status.Code(err) { //nolint:exhaustive // the others are taken to pass
	case codes.NotFound:
		return fmt.Errorf("%w: not in %s", providers.ErrNotFound, r.service)
	case codes.PermissionDenied:
		return fmt.Errorf("%w: %s (PermissionDenied): give the identity the role roles/secretmanager.secretAccessor, or what a write needs", providers.ErrDenied, r.service)
	case codes.Unauthenticated:
		return fmt.Errorf("%w: %s does not accept the token (Unauthenticated)", providers.ErrDenied, r.service)
	case codes.ResourceExhausted:
		return fmt.Errorf("request to %s: %w", r.service, providers.Throttled{After: retryAfter(err)})
	case codes.FailedPrecondition:
		return errNotEnabled
	case codes.InvalidArgument, codes.OutOfRange:
		return fmt.Errorf("%w: %s refuses the request (%s)", providers.ErrInvalid, r.service, status.Code(err))
	case codes.Aborted, codes.AlreadyExists:
		return fmt.Errorf("%w: %s: someone else has written it at the same time", providers.ErrUnavailable, r.service)
	case codes.DeadlineExceeded:
		return fmt.Errorf("%w: %s did not answer within %s", providers.ErrUnavailable, r.service, requestTimeout)
	}
	if errors.Is(err, egress.ErrRefused) {
		return fmt.Errorf("%w: %s: its address may not be connected to", providers.ErrUnavailable, r.service)
	}
	return fmt.Errorf("%w: %s (%s)", providers.ErrUnavailable, r.service, status.Code(err))
}

// retryAfter is how long the service asks to wait; 0 if it does not say.
func retryAfter(err error) time.Duration {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return max(0, min(info.GetRetryDelay().AsDuration(), time.Hour))
		}
	}
	return 0
}
