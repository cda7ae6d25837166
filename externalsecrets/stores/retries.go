package stores

import (
	"fmt"
	"time"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// What fields that are not set mean, as in External Secrets.
const (
	defaultRetries = 3
	defaultWait    = 5 * time.Second
)

// retries reads spec.retrySettings. Without it, what fails is tried again by
// the queue only, for all objects that wait for the store together.
func retries(s *esv1.RetrySettings) (providers.Retries, error) {
	if s == nil {
		return providers.Retries{}, nil
	}
	r := providers.Retries{Max: defaultRetries, Wait: defaultWait}
	if s.MaxRetries != nil {
		r.Max = int(*s.MaxRetries)
	}
	if r.Max < 0 {
		return providers.Retries{}, fmt.Errorf("spec.retrySettings.maxRetries: %w: %d is below 0", providers.ErrInvalid, r.Max)
	}
	if s.RetryInterval == nil {
		return r, nil
	}
	var err error
	if r.Wait, err = time.ParseDuration(*s.RetryInterval); err != nil || r.Wait <= 0 {
		return providers.Retries{}, fmt.Errorf("spec.retrySettings.retryInterval: %w: %q is no duration above 0, such as 500ms", providers.ErrInvalid, *s.RetryInterval)
	}
	return r, nil
}
