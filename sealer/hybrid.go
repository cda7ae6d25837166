package sealer

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// Sizes of what envelope 2 is made of, in bytes.
// Source: docs/envelope-2.md; draft-ietf-hpke-pq for those of the KEM.
const (
	idSize     = 16
	seedSize   = 32
	publicSize = 1216
	encSize    = 1120
)

// domain begins all that is hashed or derived, so that no other protocol can be
// made to compute it.
const domain = "lockstep.dev/seal/2 "

// hybridBlock is the PEM block that holds the seed of a HybridKey, and
// publicPrefix begins the text of a Recipient.
const (
	hybridBlock   = "LOCKSTEP SEALING KEY"
	publicPrefix  = "ls2pub."
	clusterHeader = "Cluster"
)

// A KeyID names a key of envelope 2: a hash of its public half.
type KeyID [idSize]byte

// String returns the id as 32 lower-case hex digits.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// A ClusterID names a cluster for as long as its sealing keys live, also after
// they were restored elsewhere. The zero ClusterID is that of a key which
// belongs to no cluster, such as one for backups.
type ClusterID [idSize]byte

// NewClusterID returns an id that nobody has.
func NewClusterID() ClusterID {
	var id ClusterID
	rand.Read(id[:]) // never fails: see crypto/rand
	return id
}

// ParseClusterID returns the id that String spells.
func ParseClusterID(text string) (ClusterID, error) {
	var id ClusterID
	if err := parseHex(id[:], text); err != nil {
		return ClusterID{}, fmt.Errorf("cluster id %q: %w", text, err)
	}
	return id, nil
}

// ParseKeyID returns the id that String spells.
func ParseKeyID(text string) (KeyID, error) {
	var id KeyID
	if err := parseHex(id[:], text); err != nil {
		return KeyID{}, fmt.Errorf("key id %q: %w", text, err)
	}
	return id, nil
}

func parseHex(into []byte, text string) error {
	if len(text) != hex.EncodedLen(len(into)) || text != strings.ToLower(text) {
		return fmt.Errorf("want %d lower-case hex digits", hex.EncodedLen(len(into)))
	}
	if _, err := hex.Decode(into, []byte(text)); err != nil {
		return errors.New("want hex digits")
	}
	return nil
}

// String returns the id as 32 lower-case hex digits.
func (id ClusterID) String() string { return hex.EncodeToString(id[:]) }

// A Recipient is the public half of a key of envelope 2.
type Recipient struct {
	ID      KeyID
	Cluster ClusterID
	public  hpke.PublicKey
}

// NewRecipient returns the recipient with a public key of 1216 bytes.
func NewRecipient(public []byte, cluster ClusterID) (Recipient, error) {
	if len(public) != publicSize {
		return Recipient{}, fmt.Errorf("public key has %d bytes, not %d", len(public), publicSize)
	}
	key, err := hpke.MLKEM768X25519().NewPublicKey(public)
	if err != nil {
		return Recipient{}, errors.New("public key is not one of MLKEM768-X25519")
	}
	sum := sha256.New()
	sum.Write([]byte(domain + "key id\x00"))
	sum.Write([]byte{suiteHybrid})
	sum.Write(public)
	r := Recipient{Cluster: cluster, public: key}
	copy(r.ID[:], sum.Sum(nil))
	return r, nil
}

// ParseRecipient returns the Recipient that String spells.
func ParseRecipient(text string, cluster ClusterID) (Recipient, error) {
	encoded, ok := strings.CutPrefix(text, publicPrefix)
	if !ok {
		return Recipient{}, fmt.Errorf("a public key begins with %s", publicPrefix)
	}
	public, err := decodeStrict(encoded)
	if err != nil {
		return Recipient{}, fmt.Errorf("public key: %w", err)
	}
	return NewRecipient(public, cluster)
}

// String returns the public key as text, which says nothing of the cluster.
func (r Recipient) String() string {
	return publicPrefix + base64.RawURLEncoding.EncodeToString(r.public.Bytes())
}

// decodeStrict decodes unpadded base64url that has no other spelling.
func decodeStrict(text string) ([]byte, error) {
	out, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || base64.RawURLEncoding.EncodedLen(len(out)) != len(text) { // the decoder skips line breaks
		return nil, errors.New("it is not canonical, unpadded base64url")
	}
	return out, nil
}

// A HybridKey is the private half of a key of envelope 2, and what signs for
// it: both come from one seed.
type HybridKey struct {
	Recipient
	Signer ed25519.PrivateKey

	seed    []byte
	private hpke.PrivateKey
}

// NewHybridKey makes a key of a cluster.
func NewHybridKey(cluster ClusterID) (*HybridKey, error) {
	seed := make([]byte, seedSize)
	rand.Read(seed) // never fails: see crypto/rand
	return hybridKey(seed, cluster)
}

func hybridKey(seed []byte, cluster ClusterID) (*HybridKey, error) {
	if len(seed) != seedSize {
		return nil, fmt.Errorf("seed has %d bytes, not %d", len(seed), seedSize)
	}
	private, err := hpke.MLKEM768X25519().NewPrivateKey(seed)
	if err != nil {
		return nil, errors.New("seed makes no key")
	}
	recipient, err := NewRecipient(private.PublicKey().Bytes(), cluster)
	if err != nil {
		return nil, err
	}
	signer, err := hkdf.Key(sha256.New, seed, nil, domain+"sign", ed25519.SeedSize)
	if err != nil {
		return nil, fmt.Errorf("derive signing key: %w", err)
	}
	return &HybridKey{Recipient: recipient, Signer: ed25519.NewKeyFromSeed(signer), seed: bytes.Clone(seed), private: private}, nil
}

// Encode returns the key as PEM. The result is as secret as every value that
// was ever sealed for the key.
func (k *HybridKey) Encode() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: hybridBlock, Headers: map[string]string{clusterHeader: k.Cluster.String()}, Bytes: k.seed})
}

// Public returns the public half.
func (k *HybridKey) Public() Recipient { return k.Recipient }

// ParseHybridKey returns the first key of envelope 2 of a PEM text. Its errors
// hold nothing of the text. ok is false if there is none.
func ParseHybridKey(text []byte) (key *HybridKey, ok bool, err error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != hybridBlock {
			continue
		}
		cluster, err := ParseClusterID(block.Headers[clusterHeader])
		if err != nil {
			return nil, true, fmt.Errorf("%s: malformed %s header", hybridBlock, clusterHeader)
		}
		key, err := hybridKey(block.Bytes, cluster)
		if err != nil {
			return nil, true, fmt.Errorf("%s: %w", hybridBlock, err)
		}
		return key, true, nil
	}
	return nil, false, nil
}

// HybridOnly returns a Key that opens nothing but envelope 2.
func HybridOnly(k *HybridKey) Key {
	none := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int)}} // of 0 bits, which fit nothing
	return Key{Private: none, Hybrid: k, Fingerprint: k.ID.String(), Since: time.Unix(1, 0)}
}
