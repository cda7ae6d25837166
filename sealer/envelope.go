package sealer

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// These are the only ways to fail to open a sealed value. Test for them with
// errors.Is.
var (
	ErrFormat = errors.New("not a sealed value")
	ErrNoKey  = errors.New("no sealing key opens it")
	ErrTamper = errors.New("the sealed value was changed after it was sealed")

	// ErrRetired is an error of Keyring.Open alone: a key that is retired opens
	// the value, which has to be sealed again.
	ErrRetired = errors.New("it was sealed with a key that is retired, which opens only to re-seal")
)

// ErrTooLarge says that a value is larger than MaxValue.
var ErrTooLarge = errors.New("value is larger than a Secret can be: 1 MiB")

// MaxValue is the largest value in bytes: what Kubernetes stores in a Secret.
// Source: https://kubernetes.io/docs/concepts/configuration/secret/
const MaxValue = 1 << 20

const (
	lengthSize  = 2
	sessionSize = 32 // AES-256
	nonceSize   = 12
	tagSize     = 16

	// maxModulus is the largest RSA modulus in bytes that is looked at: 16,384
	// bits, beyond which opening one value takes the better part of a second.
	maxModulus = 2048

	maxSealed = lengthSize + maxModulus + MaxValue + tagSize
)

// zeroNonce is safe because each session key seals one value only.
var zeroNonce [nonceSize]byte

// envelope is a sealed value, taken apart.
type envelope struct {
	wrapped []byte // the session key, for one RSA key
	body    []byte // the value, for the session key
}

// parse takes a sealed value apart without copying it. It returns an ErrFormat
// for anything that no key could open.
func parse(sealed []byte) (envelope, error) {
	if len(sealed) > maxSealed {
		return envelope{}, fmt.Errorf("%w: it has %d bytes, which is more than the largest that is accepted, %d", ErrFormat, len(sealed), maxSealed)
	}
	if len(sealed) < lengthSize {
		return envelope{}, fmt.Errorf("%w: it has %d bytes: was it cut off?", ErrFormat, len(sealed))
	}
	n := int(binary.BigEndian.Uint16(sealed))
	if n == 0 || n > maxModulus {
		return envelope{}, fmt.Errorf("%w: its first two bytes announce a key of %d bytes", ErrFormat, n)
	}
	rest := sealed[lengthSize:]
	if len(rest) < n+tagSize {
		return envelope{}, fmt.Errorf("%w: it has %d bytes, and at least %d are announced: was it cut off?", ErrFormat, len(sealed), lengthSize+n+tagSize)
	}
	return envelope{wrapped: rest[:n], body: rest[n:]}, nil
}

// print is the inverse of parse.
func (e envelope) print() []byte {
	sealed := make([]byte, lengthSize, lengthSize+len(e.wrapped)+len(e.body))
	binary.BigEndian.PutUint16(sealed, uint16(len(e.wrapped))) //nolint:gosec // G115: Seal and parse bound it by maxModulus
	sealed = append(sealed, e.wrapped...)
	return append(sealed, e.body...)
}

// open returns the value if key fits, an ErrNoKey if it does not, and an
// ErrTamper if it fits but the body is not what was sealed.
func (e envelope) open(key *rsa.PrivateKey, label []byte) ([]byte, error) {
	if key.Size() != len(e.wrapped) {
		return nil, ErrNoKey
	}
	session, err := rsa.DecryptOAEP(sha256.New(), nil, key, e.wrapped, label)
	if err != nil {
		return nil, ErrNoKey // the cause tells nothing more, and must not
	}
	if len(session) != sessionSize {
		return nil, fmt.Errorf("%w: its session key has %d bytes, not %d", ErrFormat, len(session), sessionSize)
	}
	aead, err := newAEAD(session)
	if err != nil {
		return nil, err
	}
	value, err := aead.Open(nil, zeroNonce[:], e.body, nil)
	if err != nil {
		return nil, ErrTamper
	}
	return value, nil
}

// Seal returns value sealed for the owner of pub, so that it opens only with
// the same label; see Binding.Label. Two calls never give the same result.
//
// It returns an ErrTooLarge for a value of more than MaxValue bytes, and an
// error if pub is too small for OAEP with SHA-256.
func Seal(pub *rsa.PublicKey, value, label []byte) ([]byte, error) {
	if len(value) > MaxValue {
		return nil, ErrTooLarge
	}
	if pub.Size() > maxModulus {
		return nil, fmt.Errorf("sealing key has %d bits; at most %d are used", pub.Size()*8, maxModulus*8)
	}
	session := make([]byte, sessionSize)
	rand.Read(session) // never fails: see crypto/rand
	defer clear(session)
	aead, err := newAEAD(session)
	if err != nil {
		return nil, err
	}
	wrapped, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, pub, session, label)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	body := aead.Seal(nil, zeroNonce[:], value, nil) //nolint:gosec // G407: the key is used once; see zeroNonce
	return envelope{wrapped: wrapped, body: body}.print(), nil
}

func newAEAD(session []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(session)
	if err != nil {
		return nil, fmt.Errorf("session key: %w", err)
	}
	return cipher.NewGCM(block)
}
