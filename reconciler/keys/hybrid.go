package keys

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/sealer"
)

// The key of envelope 2 lies in the same Secret as that of envelope 1: Sealed
// Secrets and kubeseal look past it, and a backup of one is a backup of both.
const (
	DataHybridKey    = "ls2.key" // see sealer.HybridKey.Encode
	DataHybridPublic = "ls2.pub" // see sealer.Recipient.String
)

// +kubebuilder:rbac:groups="",namespace=lockstep-system,resources=secrets,verbs=update

// withHybrid returns key with the key of envelope 2 that is in its Secret, if
// any. A malformed one is left out, and not replaced: what was sealed for it
// may yet be saved by whoever puts it right.
func withHybrid(key sealer.Key, secret *corev1.Secret) sealer.Key {
	hybrid, ok, err := sealer.ParseHybridKey(secret.Data[DataHybridKey])
	if ok && err == nil {
		key.Hybrid = hybrid
	}
	return key
}

// AddHybrid puts a new key of envelope 2 into a key Secret.
func AddHybrid(secret *corev1.Secret, cluster sealer.ClusterID) error {
	key, err := sealer.NewHybridKey(cluster)
	if err != nil {
		return fmt.Errorf("make key of envelope 2: %w", err)
	}
	secret.Data[DataHybridKey], secret.Data[DataHybridPublic] = key.Encode(), []byte(key.String())
	return nil
}

const (
	completeEvery = time.Hour        // a malformed key Secret may have been put right
	completeAgain = 10 * time.Second // after the API server refused something
)

// cluster returns the identity of this cluster, and makes it up before the
// first key.
func (c *Controller) cluster() sealer.ClusterID {
	if id, ok := c.Ring.Cluster(); ok {
		return id
	}
	return sealer.NewClusterID()
}

// complete gives a key of envelope 2 to every active key Secret that has none:
// those that Sealed Secrets made, and those that people bring. It runs in the
// leader, whenever the keys change.
func (c *Controller) complete(ctx context.Context) error {
	told := ""
	for {
		changed := c.Ring.Changed() // before the look, so that no change falls between
		wait := completeEvery
		if err := c.completeAll(ctx); err != nil && ctx.Err() == nil {
			if wait = completeAgain; err.Error() != told {
				told = err.Error()
				ctrl.LoggerFrom(ctx).Error(err, "a sealing key has no key of envelope 2 yet")
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		case <-changed:
		}
		timer.Stop()
	}
}

func (c *Controller) completeAll(ctx context.Context) error {
	id := c.cluster()
	for _, name := range c.incomplete() {
		secret := &corev1.Secret{}
		err := c.Reader.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: name}, secret)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read key Secret %s/%s: %w", c.Namespace, name, err)
		}
		if len(secret.Data[DataHybridKey]) > 0 || secret.Immutable != nil && *secret.Immutable {
			continue
		}
		if err := AddHybrid(secret, id); err != nil {
			return err
		}
		if err := c.Client.Update(ctx, secret); err != nil {
			return fmt.Errorf("add key of envelope 2 to key Secret %s/%s: %w", c.Namespace, name, err)
		}
		ctrl.LoggerFrom(ctx).Info("added a key of envelope 2 to a sealing key: keep a new backup of it", "secret", name)
	}
	return nil
}

// incomplete returns the names of the Secrets with active keys that have no key
// of envelope 2.
func (c *Controller) incomplete() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for name, l := range c.loaded {
		if l.key.Hybrid == nil && !l.key.Retired {
			names = append(names, name)
		}
	}
	return names
}

// publisher serves the public keys, signed: once made, for as long as the keys
// stay the same.
type publisher struct {
	ring *sealer.Keyring

	mu      sync.Mutex
	changed <-chan struct{}
	text    []byte
}

func (p *publisher) get() ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.changed: // never, if it is nil
	default:
		if p.text != nil {
			return p.text, nil
		}
	}
	changed := p.ring.Changed()
	text, err := p.ring.Publish()
	if err != nil {
		return nil, err
	}
	p.text, p.changed = text, changed
	return text, nil
}

// ServeHTTP implements http.Handler.
func (p *publisher) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	text, err := p.get()
	if err != nil {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "there is no sealing key of envelope 2 yet", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text) // whoever asked has gone
}
