package pull

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/externalsecrets/generators"
	"github.com/lockstep-dev/lockstep/externalsecrets/queue"
	"github.com/lockstep-dev/lockstep/externalsecrets/stores"
	"github.com/lockstep-dev/lockstep/externalsecrets/template"
	"github.com/lockstep-dev/lockstep/externalsecrets/texts"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/reconciler"
)

// How soon to look again when something is missing or denied that no watch
// tells about. The time doubles with each failure in a row, and is never longer
// than the interval: what was just put right is seen soon, and what nobody puts
// right costs little.
const (
	firstRetry = 15 * time.Second
	lastRetry  = 5 * time.Minute
)

// retryAfter is how soon to look again after a number of failures.
func retryAfter(es *esv1.ExternalSecret, failures int) time.Duration {
	after := min(firstRetry<<min(failures, 8), lastRetry)
	if every := interval(es); every > 0 {
		after = min(after, every)
	}
	return after
}

// downRetry is how soon to look again at a store that is down. Its queue wakes
// all who wait for it when it is back; this is for when it has forgotten.
const downRetry = 10 * time.Minute

// classify turns a failure into an outcome of the Loop. The message of each
// says what to do; the Secret stays as it is.
// failures is how many there were in a row before.
func classify(es *esv1.ExternalSecret, failures int, err error) error {
	var done *reconciler.Error
	var throttled providers.Throttled
	switch {
	case err == nil || errors.As(err, &done) || errors.Is(err, reconciler.ErrPending):
		return err
	case errors.As(err, &throttled) && throttled.After > 0:
		return reconciler.Wait(esv1.ReasonSecretSyncedError, later(throttled.After), err)
	case errors.Is(err, queue.ErrDown):
		return reconciler.Wait(esv1.ReasonSecretSyncedError, later(downRetry), err)
	case waits(err):
		return reconciler.Wait(esv1.ReasonSecretSyncedError, later(retryAfter(es, failures)), err)
	default:
		return reconciler.Temporary(esv1.ReasonSecretSyncedError, err)
	}
}

// later is d and up to a tenth more, so that what failed together does not
// come back together.
func later(d time.Duration) time.Duration {
	return d + rand.N(d/10+1) //nolint:gosec // G404: spreads load, guards nothing
}

// waits reports whether trying again at once is of no use.
func waits(err error) bool {
	for _, class := range []error{
		providers.ErrNotFound, providers.ErrDenied, providers.ErrInvalid,
		stores.ErrNoStore, stores.ErrNotAdmitted, stores.ErrKeyPolicy, stores.ErrReference,
		fetch.ErrNoProperty, fetch.ErrMalformed, fetch.ErrTooLarge,
		template.ErrInvalid, template.ErrLimit, texts.ErrSource, errRefused,
		generators.ErrInvalid, generators.ErrMissing, generators.ErrUnsupported,
	} {
		if errors.Is(err, class) {
			return true
		}
	}
	return false
}

// fought is the outcome of a target that someone else keeps changing: two
// writers that undo each other would keep the API server busy for ever.
func fought(es *esv1.ExternalSecret, left time.Duration) error {
	return reconciler.Wait(esv1.ReasonSecretSyncedError, left, fmt.Errorf(
		"spec.target.name: Secret %q is changed by someone else again and again: find out who from its managedFields, and stop one of the two; it is put right every %s", targetName(es), truceTime))
}

// errRefused says that the API server does not take the Secret.
var errRefused = errors.New("the Secret was refused")

// explain says why a write failed. The API server's own message is left out
// where it can quote what was written: a label rendered from a value, or
// whatever a webhook sees fit to tell.
func explain(name string, err error) error {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return fmt.Errorf("write Secret %q: the API server cannot be reached", name)
	}
	details := status.Status().Details
	tooLong := func(c metav1.StatusCause) bool { return c.Type == metav1.CauseType(field.ErrorTypeTooLong) }
	switch {
	case apierrors.IsInvalid(err) && details != nil && slices.ContainsFunc(details.Causes, tooLong), apierrors.IsRequestEntityTooLargeError(err):
		return fmt.Errorf("%w: Secret %q: it is larger than a Secret can be: take fewer values", errRefused, name)
	case apierrors.IsInvalid(err):
		var fields []string
		if details != nil {
			for _, cause := range details.Causes {
				fields = append(fields, cause.Field)
			}
		}
		return fmt.Errorf("%w: Secret %q: fields %s cannot be as they should: if it is immutable, or of another type, delete it, and it is made anew", errRefused, name, strings.Join(fields, ", "))
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%w: Secret %q: the controller must not write it: look at its rights, the namespace's quota and admission policies", errRefused, name)
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%w: Secret %q: its namespace is gone", errRefused, name)
	default:
		return fmt.Errorf("write Secret %q: the API server says %s", name, apierrors.ReasonForError(err))
	}
}
