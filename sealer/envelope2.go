package sealer

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Prefix2 begins every value of envelope 2. A point is in no base64, so that
// none can be mistaken for envelope 1.
const Prefix2 = "ls2."

// The layout of envelope 2, in bytes. Source: docs/envelope-2.md.
const (
	version2    = 2
	suiteHybrid = 1 // MLKEM768-X25519, HKDF-SHA256, AES-256-GCM

	commitSize = 32
	headSize   = 1 + 1 + 1 + 3*tagSize2 + commitSize
	wrapSize   = sessionSize + tagSize
	stanzaSize = idSize + idSize + encSize + wrapSize

	// MaxRecipients is how many keys one value can be sealed for: each costs
	// 1.6 kB of text, and etcd takes objects of 1.5 MiB.
	MaxRecipients = 16

	lenSize = 4
	minPad  = 64 // most passwords, keys and tokens are shorter, and look alike
)

// maxBlob is the size of the largest envelope 2.
var maxBlob = headSize + 1 + MaxRecipients*stanzaSize + padded(lenSize+MaxValue) + tagSize

// stanza is the session key, for one recipient.
type stanza struct {
	id      KeyID
	cluster ClusterID
	enc     []byte
	wrapped []byte
}

// envelope2 is a value of envelope 2, taken apart.
type envelope2 struct {
	scope   Scope
	tags    tags
	commit  [commitSize]byte
	stanzas []stanza
	body    []byte
}

// head prints what comes before the recipients; they are bound to it.
func (e *envelope2) head() []byte {
	out := make([]byte, 0, headSize)
	out = append(out, version2, suiteHybrid, byte(e.scope)) //nolint:gosec // G115: one of three
	out = append(out, e.tags.namespace[:]...)
	out = append(out, e.tags.name[:]...)
	out = append(out, e.tags.item[:]...)
	return append(out, e.commit[:]...)
}

// header prints all but the body, which is bound to it.
func (e *envelope2) header() []byte {
	out := append(e.head(), byte(len(e.stanzas))) //nolint:gosec // G115: at most MaxRecipients
	for _, s := range e.stanzas {
		out = append(out, s.id[:]...)
		out = append(out, s.cluster[:]...)
		out = append(out, s.enc...)
		out = append(out, s.wrapped...)
	}
	return out
}

// print is the inverse of parse2.
func (e *envelope2) print() string {
	return Prefix2 + base64.RawURLEncoding.EncodeToString(append(e.header(), e.body...))
}

// parse2 takes the text of a sealed value apart. It returns an ErrFormat for
// anything that no key could open.
func parse2(text string) (*envelope2, error) {
	encoded, ok := strings.CutPrefix(text, Prefix2)
	if !ok {
		return nil, fmt.Errorf("%w: it does not begin with %s", ErrFormat, Prefix2)
	}
	if len(encoded) > base64.RawURLEncoding.EncodedLen(maxBlob) {
		return nil, fmt.Errorf("%w: it has %d characters, which is more than the largest that is accepted", ErrFormat, len(text))
	}
	blob, err := decodeStrict(encoded)
	if err != nil {
		return nil, fmt.Errorf("%w: %w: was it cut off?", ErrFormat, err)
	}
	if len(blob) < headSize+1 {
		return nil, fmt.Errorf("%w: it has %d bytes: was it cut off?", ErrFormat, len(blob))
	}
	switch {
	case blob[0] != version2:
		return nil, fmt.Errorf("%w: version %d is not known", ErrFormat, blob[0])
	case blob[1] != suiteHybrid:
		return nil, fmt.Errorf("%w: suite %d is not known", ErrFormat, blob[1])
	case blob[2] > byte(ClusterWide):
		return nil, fmt.Errorf("%w: scope %d is not known", ErrFormat, blob[2])
	}
	e := &envelope2{scope: Scope(blob[2])}
	rest := blob[3:]
	for _, field := range [][]byte{e.tags.namespace[:], e.tags.name[:], e.tags.item[:], e.commit[:]} {
		rest = rest[copy(field, rest):]
	}
	return e, e.parseRest(rest)
}

// parseRest reads the recipients and the body.
func (e *envelope2) parseRest(rest []byte) error {
	if e.scope == ClusterWide && e.tags.namespace != (tags{}).namespace || e.scope != Strict && e.tags.name != (tags{}).name {
		return fmt.Errorf("%w: it names what its scope does not bind", ErrFormat)
	}
	count, rest := int(rest[0]), rest[1:]
	if count == 0 || count > MaxRecipients {
		return fmt.Errorf("%w: it has %d recipients; 1 to %d are allowed", ErrFormat, count, MaxRecipients)
	}
	if len(rest) < count*stanzaSize {
		return fmt.Errorf("%w: it ends among its recipients: was it cut off?", ErrFormat)
	}
	for range count {
		var s stanza
		one := rest[:stanzaSize]
		one = one[copy(s.id[:], one):]
		one = one[copy(s.cluster[:], one):]
		s.enc, s.wrapped = one[:encSize], one[encSize:]
		if n := len(e.stanzas); n > 0 && bytes.Compare(e.stanzas[n-1].id[:], s.id[:]) >= 0 {
			return fmt.Errorf("%w: its recipients are not in the order of their ids, each once", ErrFormat)
		}
		e.stanzas = append(e.stanzas, s)
		rest = rest[stanzaSize:]
	}
	if n := len(rest) - tagSize; n < minPad || padded(n) != n {
		return fmt.Errorf("%w: its body has %d bytes, which no value has: was it cut off?", ErrFormat, len(rest))
	}
	e.body = rest
	return nil
}

// session seals the body: everything in it follows from one key that is used
// once.
func session(key, context []byte, what string) ([]byte, error) {
	return hkdf.Key(sha256.New, key, context, domain+what, sessionSize)
}

// SealItem returns value sealed for place, as text, so that each of the
// recipients opens it, and it opens nowhere else. Two calls never give the same
// result, and what it gives shows of the length of value only its Padmé bucket.
//
// It returns an ErrTooLarge for a value of more than MaxValue bytes, and an
// error for a place or recipients that nothing can be sealed for.
func SealItem(value []byte, at Place, recipients ...Recipient) (string, error) {
	if len(value) > MaxValue {
		return "", ErrTooLarge
	}
	if err := at.valid(); err != nil {
		return "", fmt.Errorf("seal: %w", err)
	}
	recipients, err := inOrder(recipients)
	if err != nil {
		return "", err
	}
	key := make([]byte, sessionSize)
	rand.Read(key) // never fails: see crypto/rand
	defer clear(key)
	context := at.context()
	commit, err := session(key, context, "commit")
	if err != nil {
		return "", fmt.Errorf("seal: %w", err)
	}
	e := &envelope2{scope: at.Scope, tags: at.tags(), commit: [commitSize]byte(commit)}
	for _, r := range recipients {
		s, err := e.wrap(r, key, context)
		if err != nil {
			return "", err
		}
		e.stanzas = append(e.stanzas, s)
	}
	if e.body, err = e.encrypt(key, context, value); err != nil {
		return "", err
	}
	return e.print(), nil
}

func inOrder(recipients []Recipient) ([]Recipient, error) {
	recipients = slices.Clone(recipients)
	slices.SortStableFunc(recipients, func(a, b Recipient) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	recipients = slices.CompactFunc(recipients, func(a, b Recipient) bool { return a.ID == b.ID })
	if n := len(recipients); n == 0 || n > MaxRecipients {
		return nil, fmt.Errorf("seal: %d recipients; 1 to %d are possible", n, MaxRecipients)
	}
	return recipients, nil
}

// info is what the session key of one recipient is bound to.
func (s stanza) info(context []byte) []byte {
	out := []byte(domain + "recipient\x00")
	out = append(out, suiteHybrid)
	out = append(out, s.id[:]...)
	out = append(out, s.cluster[:]...)
	return append(out, context...)
}

func (e *envelope2) wrap(r Recipient, key, context []byte) (stanza, error) {
	s := stanza{id: r.ID, cluster: r.Cluster}
	enc, sender, err := hpke.NewSender(r.public, hpke.HKDFSHA256(), hpke.AES256GCM(), s.info(context))
	if err != nil {
		return stanza{}, fmt.Errorf("seal for key %v: %w", r.ID, err)
	}
	s.enc = enc
	if s.wrapped, err = sender.Seal(e.head(), key); err != nil {
		return stanza{}, fmt.Errorf("seal for key %v: %w", r.ID, err)
	}
	return s, nil
}

func (e *envelope2) encrypt(key, context, value []byte) ([]byte, error) {
	bodyKey, err := session(key, context, "body")
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	defer clear(bodyKey)
	aead, err := newAEAD(bodyKey)
	if err != nil {
		return nil, err
	}
	plain := pad(value)
	defer clear(plain)
	return aead.Seal(nil, zeroNonce[:], plain, e.header()), nil //nolint:gosec // G407: the key is used once; see zeroNonce
}

// open returns the value. The stanza is that of key, and the envelope was
// checked to be for place.
func (e *envelope2) open(key *HybridKey, s stanza, at Place) ([]byte, error) {
	context := at.context()
	recipient, err := hpke.NewRecipient(s.enc, key.private, hpke.HKDFSHA256(), hpke.AES256GCM(), s.info(context))
	if err != nil {
		return nil, ErrTamper // the cause tells nothing more, and must not
	}
	sessionKey, err := recipient.Open(e.head(), s.wrapped)
	if err != nil {
		return nil, ErrTamper
	}
	defer clear(sessionKey)
	commit, err := session(sessionKey, context, "commit")
	if err != nil || subtle.ConstantTimeCompare(commit, e.commit[:]) != 1 {
		return nil, ErrTamper
	}
	bodyKey, err := session(sessionKey, context, "body")
	if err != nil {
		return nil, ErrTamper
	}
	defer clear(bodyKey)
	aead, err := newAEAD(bodyKey)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, zeroNonce[:], e.body, e.header())
	if err != nil {
		return nil, ErrTamper
	}
	value, err := unpad(plain)
	if err != nil {
		return nil, errors.Join(ErrTamper, err)
	}
	return value, nil
}
