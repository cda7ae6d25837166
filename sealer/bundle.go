package sealer

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// These are the ways in which published keys cannot be trusted. Test for them
// with errors.Is.
var (
	ErrBundle    = errors.New("not published sealing keys")
	ErrUntrusted = errors.New("the published sealing keys are not signed by the key that was trusted before")
	ErrRollback  = errors.New("the published sealing key is older than the one that was trusted before")
)

// MaxBundle is the largest text of a Bundle in bytes: 200 keys of 3 kB.
const MaxBundle = 1 << 20

// bundleVersion is the version of the form of a Bundle.
const bundleVersion = 2

// signed begins what a key signs, so that it is mistaken for nothing else.
const signed = domain + "bundle\x00"

// PublishedKey is one key of a Bundle.
type PublishedKey struct {
	ID          string    `json:"id"`          // KeyID, in hex
	Public      string    `json:"public"`      // see Recipient.String
	Signer      []byte    `json:"signer"`      // Ed25519 public key
	Certificate string    `json:"certificate"` // of envelope 1, in PEM
	Since       time.Time `json:"since"`       // from when it is used
}

// statement is what is signed.
type statement struct {
	Version int            `json:"version"`
	Cluster string         `json:"cluster"`
	Keys    []PublishedKey `json:"keys"` // newest first; the first seals
}

// Bundle is what a cluster publishes of its keys: the statement, as the bytes
// that are signed, and one signature by each key that can sign. Whoever trusts
// one of the keys can so trust the others.
type Bundle struct {
	Statement  json.RawMessage  `json:"statement"`
	Signatures []SignatureByKey `json:"signatures"`

	parsed statement
}

// SignatureByKey is an Ed25519 signature of a statement.
type SignatureByKey struct {
	ID        string `json:"id"`
	Signature []byte `json:"signature"`
}

// Publish returns the bundle of the keys that are not retired. It returns an
// ErrNoKey if the newest of them has no key of envelope 2.
func (r *Keyring) Publish() ([]byte, error) {
	var s statement
	var signers []*HybridKey
	for _, k := range r.all() {
		if k.Retired || k.Hybrid == nil {
			if !k.Retired && len(s.Keys) == 0 {
				break // the newest has none
			}
			continue
		}
		if len(s.Keys) == 0 {
			s.Version, s.Cluster = bundleVersion, k.Hybrid.Cluster.String()
		} else if k.Hybrid.Cluster.String() != s.Cluster {
			continue // restored from another cluster: it opens, and speaks for nobody here
		}
		s.Keys = append(s.Keys, PublishedKey{
			ID: k.Hybrid.ID.String(), Public: k.Hybrid.String(), Signer: k.Hybrid.Signer.Public().(ed25519.PublicKey), //nolint:forcetypeassert // documented by crypto/ed25519
			Certificate: string(EncodeCertificate(k.Certificate)), Since: k.Made().UTC(),
		})
		signers = append(signers, k.Hybrid)
	}
	if len(s.Keys) == 0 {
		return nil, fmt.Errorf("%w: there is no key of envelope 2 to publish yet", ErrNoKey)
	}
	text, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("publish sealing keys: %w", err)
	}
	b := Bundle{Statement: text}
	for _, k := range signers {
		b.Signatures = append(b.Signatures, SignatureByKey{ID: k.ID.String(), Signature: ed25519.Sign(k.Signer, append([]byte(signed), text...))})
	}
	if text, err = json.Marshal(b); err != nil {
		return nil, fmt.Errorf("publish sealing keys: %w", err)
	}
	return text, nil
}

// ParseBundle reads what Publish wrote. It checks that the bundle is whole and
// that its newest key signed it; whether to trust that key is for Pin.Trusts.
// Its error is an ErrBundle.
func ParseBundle(text []byte) (*Bundle, error) {
	b := &Bundle{}
	if len(text) > MaxBundle {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrBundle, MaxBundle)
	}
	if err := json.Unmarshal(text, b); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	// Signed is the compact form, which is what a marshaller that indents loses.
	var compact bytes.Buffer
	if err := json.Compact(&compact, b.Statement); err != nil {
		return nil, fmt.Errorf("%w: it has no statement", ErrBundle)
	}
	b.Statement = compact.Bytes()
	decoder := json.NewDecoder(bytes.NewReader(b.Statement))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&b.parsed); err != nil {
		return nil, fmt.Errorf("%w: statement: %w", ErrBundle, err)
	}
	if b.parsed.Version != bundleVersion || len(b.parsed.Keys) == 0 {
		return nil, fmt.Errorf("%w: version %d with %d keys; version %d is known", ErrBundle, b.parsed.Version, len(b.parsed.Keys), bundleVersion)
	}
	for i, k := range b.parsed.Keys {
		if err := b.check(k); err != nil {
			return nil, fmt.Errorf("%w: key %d: %w", ErrBundle, i, err)
		}
	}
	if !b.signedBy(b.parsed.Keys[0].ID, b.parsed.Keys[0].Signer) {
		return nil, fmt.Errorf("%w: its newest key did not sign it", ErrBundle)
	}
	return b, nil
}

func (b *Bundle) check(k PublishedKey) error {
	cluster, err := ParseClusterID(b.parsed.Cluster)
	if err != nil {
		return err
	}
	r, err := ParseRecipient(k.Public, cluster)
	if err != nil {
		return err
	}
	if r.ID.String() != k.ID {
		return fmt.Errorf("its id is %v, not %q", r.ID, k.ID)
	}
	if len(k.Signer) != ed25519.PublicKeySize {
		return fmt.Errorf("its signer has %d bytes", len(k.Signer))
	}
	_, err = ParseCertificate([]byte(k.Certificate))
	return err
}

func (b *Bundle) signedBy(id string, signer ed25519.PublicKey) bool {
	return slices.ContainsFunc(b.Signatures, func(s SignatureByKey) bool {
		return s.ID == id && ed25519.Verify(signer, append([]byte(signed), b.Statement...), s.Signature)
	})
}

// Cluster returns the identity of the cluster.
func (b *Bundle) Cluster() ClusterID {
	id, _ := ParseClusterID(b.parsed.Cluster) // ParseBundle did so
	return id
}

// Keys returns the keys, newest first.
func (b *Bundle) Keys() []PublishedKey { return slices.Clone(b.parsed.Keys) }

// IDs returns the ids of the keys, newest first.
func (b *Bundle) IDs() []KeyID {
	var ids []KeyID
	for _, k := range b.parsed.Keys {
		id, _ := ParseKeyID(k.ID) // ParseBundle did so
		ids = append(ids, id)
	}
	return ids
}

// Newest returns the key to seal with.
func (b *Bundle) Newest() Recipient {
	r, _ := ParseRecipient(b.parsed.Keys[0].Public, b.Cluster()) // ParseBundle did so
	return r
}

// Recipients returns the keys as recipients, newest first.
func (b *Bundle) Recipients() []Recipient {
	var all []Recipient
	for _, k := range b.parsed.Keys {
		r, _ := ParseRecipient(k.Public, b.Cluster()) // ParseBundle did so
		all = append(all, r)
	}
	return all
}

// ParseRecipients reads public keys, one a line, or what Publish wrote: then
// the keys are named, and not trusted. Its error is an ErrBundle for the latter.
func ParseRecipients(text []byte) ([]Recipient, error) {
	text = bytes.TrimSpace(text)
	if bytes.HasPrefix(text, []byte("{")) {
		b, err := ParseBundle(text)
		if err != nil {
			return nil, err
		}
		return b.Recipients(), nil
	}
	var all []Recipient
	for line := range strings.Lines(string(text)) {
		r, err := ParseRecipient(strings.TrimSpace(line), ClusterID{})
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	if len(all) == 0 {
		return nil, errors.New("it holds no public key")
	}
	return all, nil
}

// Certificate returns the certificate of the newest key, for envelope 1, and
// its public key.
func (b *Bundle) Certificate() (*x509.Certificate, *rsa.PublicKey) {
	cert, err := ParseCertificate([]byte(b.parsed.Keys[0].Certificate))
	if err != nil {
		return nil, nil // impossible: ParseBundle did so
	}
	key, _ := cert.PublicKey.(*rsa.PublicKey) // ParseCertificate takes no other
	return cert, key
}

// Pin is what is remembered of a cluster: whoever has it trusts what its key
// signs, and nothing else.
type Pin struct {
	Cluster string    `json:"cluster,omitempty"`
	Key     string    `json:"key,omitempty"`    // KeyID of the newest key that was seen
	Signer  []byte    `json:"signer,omitempty"` // its Ed25519 public key
	Since   time.Time `json:"since,omitzero"`   // from when it is used
}

// Pin returns what to remember of the bundle.
func (b *Bundle) Pin() Pin {
	k := b.parsed.Keys[0]
	return Pin{Cluster: b.parsed.Cluster, Key: k.ID, Signer: k.Signer, Since: k.Since}
}

// Trusts says whether b comes from whoever held the key of p. The error is an
// ErrUntrusted or an ErrRollback.
func (p Pin) Trusts(b *Bundle) error {
	switch {
	case b.parsed.Cluster != p.Cluster:
		return fmt.Errorf("%w: they are those of cluster %s, and cluster %s was trusted", ErrUntrusted, b.parsed.Cluster, p.Cluster)
	case len(p.Signer) != ed25519.PublicKeySize || !b.signedBy(p.Key, p.Signer):
		return fmt.Errorf("%w: key %s did not sign key %s", ErrUntrusted, p.Key, b.parsed.Keys[0].ID)
	case b.parsed.Keys[0].Since.Before(p.Since):
		return fmt.Errorf("%w: key %s of %s, and key %s of %s was seen", ErrRollback, b.parsed.Keys[0].ID, b.parsed.Keys[0].Since.Format(time.DateTime), p.Key, p.Since.Format(time.DateTime))
	}
	return nil
}
