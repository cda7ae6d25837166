package pull

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The Secret that holds the key of fingerprints.
const (
	fingerprintSecret = "lockstep-fingerprint-key"
	fingerprintKey    = "key"
	fingerprintBytes  = sha256.Size // what HMAC-SHA-256 can use
)

// Fingerprints makes fingerprints of secret data: equal if the data is equal,
// and worthless without the key, unlike a hash, which can be guessed at.
type Fingerprints struct{ key []byte }

// NewFingerprints uses a key of an installation. The key must stay secret.
func NewFingerprints(key []byte) *Fingerprints { return &Fingerprints{key: key} }

// Sum returns the HMAC-SHA-256 of data, in hex.
func (f *Fingerprints) Sum(data map[string][]byte) string {
	mac := hmac.New(sha256.New, f.key)
	put := func(b []byte) {
		// The length in front keeps two different maps from being written alike.
		_, _ = mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b)))) // a hash never fails
		_, _ = mac.Write(b)
	}
	for _, key := range slices.Sorted(maps.Keys(data)) {
		put([]byte(key))
		put(data[key])
	}
	return hex.EncodeToString(mac.Sum(nil))
}

// keyring reads the key of this installation once, and makes it if there is
// none.
type keyring struct {
	mu   sync.Mutex
	have *Fingerprints
}

// get returns the fingerprints of the installation whose controller runs in
// namespace. Only the leader may call it, or two could make a key each.
func (k *keyring) get(ctx context.Context, reader client.Reader, writer client.Writer, namespace string) (*Fingerprints, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.have != nil {
		return k.have, nil
	}
	secret := &corev1.Secret{}
	err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: fingerprintSecret}, secret)
	if apierrors.IsNotFound(err) {
		secret, err = newKey(namespace), nil
		if err := writer.Create(ctx, secret); err != nil {
			return nil, fmt.Errorf("create Secret %s/%s for fingerprints: %w", namespace, fingerprintSecret, err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read Secret %s/%s for fingerprints: %w", namespace, fingerprintSecret, err)
	}
	key := secret.Data[fingerprintKey]
	if len(key) < fingerprintBytes {
		return nil, fmt.Errorf("Secret %s/%s has no usable key %q: delete it, and a new one is made", namespace, fingerprintSecret, fingerprintKey) //nolint:staticcheck // ST1005: a kind begins with a capital
	}
	k.have = NewFingerprints(key)
	return k.have, nil
}

func newKey(namespace string) *corev1.Secret {
	key := make([]byte, fingerprintBytes)
	_, _ = rand.Read(key) // it never fails
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fingerprintSecret, Labels: map[string]string{"app.kubernetes.io/managed-by": "lockstep"}},
		Data:       map[string][]byte{fingerprintKey: key},
	}
}
