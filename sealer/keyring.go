package sealer

import (
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Key is a sealing key: the private half, and the certificate that carries
// the public one.
type Key struct {
	Private     *rsa.PrivateKey
	Certificate *x509.Certificate
	Fingerprint string // of the public key; see Fingerprint

	// Hybrid is the key of envelope 2 that lives and ends with this one; nil if
	// there is none.
	Hybrid *HybridKey

	// Retired says that the key opens only to re-seal: Open refuses with
	// ErrRetired what needs it, OpenToReseal does not, and it is never Newest.
	Retired bool

	// Since is when the key counts as made, by which the newest is found; zero
	// is the time from which its certificate is valid.
	Since time.Time
}

// Made returns when the key counts as made; see Since.
func (k Key) Made() time.Time {
	if k.Since.IsZero() {
		return k.Certificate.NotBefore
	}
	return k.Since
}

// NewKey puts the two halves together. It returns an error if they do not
// belong to each other.
func NewKey(private *rsa.PrivateKey, cert *x509.Certificate) (Key, error) {
	if !private.PublicKey.Equal(cert.PublicKey) {
		return Key{}, errors.New("private key and certificate do not belong together")
	}
	fingerprint, err := Fingerprint(&private.PublicKey)
	if err != nil {
		return Key{}, err
	}
	return Key{Private: private, Certificate: cert, Fingerprint: fingerprint}, nil
}

// Opened is a value that a Keyring opened, and the fingerprint of the key that
// did.
type Opened struct {
	Value       []byte // secret
	Fingerprint string
}

// A Keyring holds the sealing keys of a cluster. Its zero value is empty and
// ready to use, by many goroutines at once.
type Keyring struct {
	mu      sync.RWMutex
	keys    []Key // newest first; never changed, only replaced
	changed chan struct{}
	loaded  bool // Set was called

	operations atomic.Uint64
}

// Set replaces the keys. It tells those who wait for Changed if they differ
// from what was there.
func (r *Keyring) Set(keys ...Key) {
	keys = slices.Clone(keys)
	for i, k := range keys { // a key that is there twice is retired if one says so
		keys[i].Retired = slices.ContainsFunc(keys, func(o Key) bool { return o.Retired && o.Fingerprint == k.Fingerprint })
	}
	slices.SortFunc(keys, newestFirst)
	keys = slices.CompactFunc(keys, sameKey)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.loaded && slices.EqualFunc(r.keys, keys, sameKey) {
		return
	}
	r.keys, r.loaded = keys, true
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// newestFirst orders by the time from which a key is valid, as kubeseal's
// controller does by default; keys of the same second, by fingerprint, so that
// every replica publishes the same one.
func newestFirst(a, b Key) int {
	if c := b.Made().Compare(a.Made()); c != 0 {
		return c
	}
	switch {
	case a.Fingerprint < b.Fingerprint:
		return -1
	case a.Fingerprint > b.Fingerprint:
		return 1
	default:
		return 0
	}
}

func sameKey(a, b Key) bool {
	return a.Fingerprint == b.Fingerprint && a.Retired == b.Retired && a.Made().Equal(b.Made()) && a.Certificate.Equal(b.Certificate) && sameHybrid(a.Hybrid, b.Hybrid)
}

func sameHybrid(a, b *HybridKey) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.ID == b.ID && a.Cluster == b.Cluster
}

// Changed returns a channel that is closed when the keys next change.
func (r *Keyring) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	return r.changed
}

// Loaded says whether Set was called: before, that there is no key says nothing.
func (r *Keyring) Loaded() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.loaded
}

// Newest returns the key that new values are sealed with, and whether there is
// one.
func (r *Keyring) Newest() (Key, bool) {
	keys := r.all()
	i := slices.IndexFunc(keys, func(k Key) bool { return !k.Retired })
	if i < 0 {
		return Key{}, false
	}
	return keys[i], true
}

// Keys returns all keys, newest first, the retired ones among them.
func (r *Keyring) Keys() []Key { return slices.Clone(r.all()) }

// Retired says whether the key with a fingerprint is there, and retired.
func (r *Keyring) Retired(fingerprint string) bool {
	return slices.ContainsFunc(r.all(), func(k Key) bool { return k.Retired && k.Fingerprint == fingerprint })
}

// Len returns how many keys there are.
func (r *Keyring) Len() int { return len(r.all()) }

func (r *Keyring) all() []Key {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Clip(r.keys)
}

// Open opens a sealed value, if it was sealed for at and one of the keys fits.
// It tries the key with the fingerprint hint first, which may be empty, then
// the newest: each try costs several milliseconds, and what belongs together
// was mostly sealed together.
//
// Its errors are ErrFormat, ErrNoKey, ErrTamper and ErrRetired.
func (r *Keyring) Open(sealed []byte, at Binding, hint string) (Opened, error) {
	opened, err := r.OpenToReseal(sealed, at, hint)
	if err == nil && r.Retired(opened.Fingerprint) {
		clear(opened.Value)
		return Opened{}, fmt.Errorf("%w: %s", ErrRetired, opened.Fingerprint)
	}
	return opened, err
}

// OpenToReseal is Open for those who seal the value again with the newest key,
// and do nothing else with it: retired keys open too.
func (r *Keyring) OpenToReseal(sealed []byte, at Binding, hint string) (Opened, error) {
	e, err := parse(sealed)
	if err != nil {
		return Opened{}, err
	}
	keys, label := r.all(), at.Label()
	if i := slices.IndexFunc(keys, func(k Key) bool { return k.Fingerprint == hint }); i > 0 {
		keys = slices.Concat(keys[i:i+1], keys[:i], keys[i+1:])
	}
	for _, k := range keys {
		if k.Private == nil || k.Private.Size() != len(e.wrapped) {
			continue // it cannot fit, and a try would cost as much as one that does
		}
		r.operations.Add(1)
		value, err := e.open(k.Private, label)
		if errors.Is(err, ErrNoKey) {
			continue
		}
		if err != nil {
			return Opened{}, err
		}
		return Opened{Value: value, Fingerprint: k.Fingerprint}, nil
	}
	return Opened{}, noKey(keys, len(e.wrapped))
}

// Operations returns how many RSA operations the Keyring has done: what opening
// values of envelope 1 costs, several milliseconds each.
func (r *Keyring) Operations() uint64 { return r.operations.Load() }

// noKey names the likely cause: a key size that no key has can only come from
// another cluster; the rest cannot be told apart.
func noKey(keys []Key, size int) error {
	switch {
	case len(keys) == 0:
		return fmt.Errorf("%w: there is no sealing key yet: wait for it, restore the keys of the cluster with lockstep keys restore, or make a new one with lockstep keys rotate", ErrNoKey)
	case !slices.ContainsFunc(keys, func(k Key) bool { return k.Private.Size() == size }):
		return fmt.Errorf("%w: it was sealed with a key of %d bits, and none of the %d here has that size", ErrNoKey, size*8, len(keys))
	default:
		return fmt.Errorf("%w: it was sealed for another namespace, name or scope, or with the certificate of another cluster", ErrNoKey)
	}
}
