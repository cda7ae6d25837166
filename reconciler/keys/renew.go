package keys

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/sealer"
)

// Renewal says when there is a new key, and how its Secret looks. The zero
// value never renews.
type Renewal struct {
	RenewPeriod time.Duration // age at which the newest key is followed by another; 0 is never
	Cutoff      time.Time     // a newest key that was made before is followed by another, now or then; zero is never
	Order       Order         // which key is the newest; empty is ByCertificate
	CommonName  string        // of a new key's certificate

	Labels, Annotations map[string]string // of a new key Secret, besides its own

	Now func() time.Time // the clock; nil is time.Now
}

func (r *Renewal) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now() //nolint:forbidigo // the default of the parameter
}

// due returns when newest is to be followed by another key, and false for
// never.
func (r *Renewal) due(newest sealer.Key) (time.Time, bool) {
	var at []time.Time
	if r.RenewPeriod > 0 {
		at = append(at, newest.Made().Add(r.RenewPeriod))
	}
	// A certificate counts in seconds.
	if !r.Cutoff.IsZero() && newest.Made().Before(r.Cutoff.Truncate(time.Second)) {
		at = append(at, r.Cutoff)
	}
	switch {
	case len(at) == 0:
		return time.Time{}, false
	case len(at) == 2 && at[1].Before(at[0]):
		return at[1], true
	default:
		return at[0], true
	}
}

const (
	// retry is how long to wait after the API server refused something.
	retry = 10 * time.Second

	// longest is how long to sleep at most: a timer does not see that the clock
	// was put right, or that the machine slept.
	longest = time.Hour
)

// keep sees that there is a key, and a new one when the newest is due. It runs
// in the leader.
func (c *Controller) keep(ctx context.Context) error {
	var told string // the last failure that was logged
	for {
		changed := c.Ring.Changed() // before the look, so that no change falls between
		wait, err := c.ensure(ctx)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the process stops
		case err == nil:
			told = ""
		default:
			if err.Error() != told {
				told = err.Error()
				ctrl.LoggerFrom(ctx).Error(err, "no new sealing key was made")
			}
			wait = retry
		}
		timer := time.NewTimer(min(wait, longest))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-changed:
		}
		timer.Stop()
	}
}

// ensure makes a sealing key if there is none that is not retired, or if the
// newest is due, and returns how long nothing will be due. A key Secret that is
// there and malformed counts as one: a mistake in a restored backup must not be
// answered with a key that opens nothing of it.
func (c *Controller) ensure(ctx context.Context) (time.Duration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	secrets, err := c.list(ctx)
	if err != nil {
		return 0, err
	}
	c.fill(secrets)
	newest, ok := c.Ring.Newest()
	switch {
	case ok:
		at, ever := c.due(newest)
		if !ever {
			return longest, nil
		}
		if wait := at.Sub(c.now()); wait > 0 {
			return wait, nil
		}
	case len(secrets) == 0:
		if err := c.unknown(ctx); err != nil {
			return 0, err
		}
	case c.Ring.Len() == 0:
		return longest, nil // all are malformed, which Reconcile reports
	}
	return 0, c.add(ctx)
}

// add makes a key and publishes it.
func (c *Controller) add(ctx context.Context) error {
	secret, err := c.create(ctx)
	if err != nil {
		return fmt.Errorf("make a sealing key: %w", err)
	}
	if err := c.put(secret); err != nil {
		return err
	}
	c.publish()
	ctrl.LoggerFrom(ctx).Info("made a sealing key: keep a backup of it", "secret", secret.Name, "fingerprint", c.loaded[secret.Name].key.Fingerprint)
	return nil
}

// errUnknown says that there are SealedSecrets, and no key at all: a cluster
// that was restored, or made again from Git, without its keys. A new key would
// open none of them, and hide that the keys are missing from whoever looks
// whether the controller is well.
var errUnknown = errors.New("there is no sealing key, and a SealedSecret that was sealed with one: restore the keys of its cluster with lockstep keys restore, " +
	"or make a new one, which opens nothing of it, with lockstep keys rotate")

// ReasonNoKey is the reason of the Event about a SealedSecret for which keys
// have to be restored.
const ReasonNoKey = "NoSealingKey"

// page is how many SealedSecrets are read at once.
const page = 500

// unknown returns an errUnknown if a SealedSecret refers to a key. It is asked
// only while there is none.
func (c *Controller) unknown(ctx context.Context) error {
	var all bitnamiv1alpha1.SealedSecretList
	for {
		if err := c.Reader.List(ctx, &all, client.Limit(page), client.Continue(all.Continue)); err != nil {
			return fmt.Errorf("see whether SealedSecrets refer to a key that is not here: %w", err)
		}
		for i := range all.Items {
			if ss := &all.Items[i]; sealed(ss) {
				if c.Recorder != nil { // what is synced already has no other word of it
					c.Recorder.Event(ss, corev1.EventTypeWarning, ReasonNoKey, errUnknown.Error())
				}
				return fmt.Errorf("%s/%s: %w", ss.Namespace, ss.Name, errUnknown)
			}
		}
		if all.Continue == "" {
			return nil
		}
	}
}

// sealed says whether an item of ss may have been sealed with a key. What is
// too short for any is a mistake, and no trace of one.
func sealed(ss *bitnamiv1alpha1.SealedSecret) bool {
	const smallest = sealer.MinKeySize / 8 // bytes, of which base64 makes more
	for _, value := range ss.Spec.EncryptedData {
		if len(strings.TrimSpace(value)) > smallest {
			return true
		}
	}
	return false
}

// Template is what a new key Secret looks like.
type Template struct {
	Namespace, Prefix   string // of its name
	Size                int    // of the key in bits
	TTL                 time.Duration
	CommonName          string
	Labels, Annotations map[string]string
}

func (c *Controller) create(ctx context.Context) (*corev1.Secret, error) {
	secret, err := NewSecret(Template{
		Namespace: c.Namespace, Prefix: c.Prefix, Size: c.KeySize, TTL: c.TTL,
		CommonName: c.CommonName, Labels: c.Labels, Annotations: c.Annotations,
	})
	if err != nil {
		return nil, err
	}
	if err := AddHybrid(secret, c.cluster()); err != nil {
		return nil, err
	}
	if err := c.Client.Create(ctx, secret); err != nil {
		return nil, fmt.Errorf("create key Secret in namespace %q: %w", c.Namespace, err)
	}
	return secret, nil
}
