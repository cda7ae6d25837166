// Package cosign decides whether an artifact is signed by someone who is
// trusted, as cosign signs: with a key, or with a certificate for an identity
// that Fulcio issued and Rekor logged. It makes no requests.
//
// Source: https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
package cosign

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
)

// Signature is one that was found next to an artifact: a bundle, as cosign 3
// makes them, or its parts, as cosign makes them since its first version.
type Signature struct {
	Bundle []byte // JSON; empty for one in parts

	Payload     []byte
	Signature   []byte
	Certificate []byte // PEM; empty for one by a key
	Log         []byte // what Rekor has promised, in JSON; empty for one that is not logged
}

// keyFile is how the public keys of a Secret are named; it is Flux's.
const keyFile = ".pub"

// Keys are public keys that may sign.
type Keys []key

type key struct {
	name     string
	verifier signature.Verifier
}

// ParseKeys reads the values of a Secret.
func ParseKeys(secret map[string][]byte) (Keys, error) {
	var keys Keys
	for _, name := range slices.Sorted(maps.Keys(secret)) {
		if !strings.HasSuffix(name, keyFile) {
			continue
		}
		public, err := cryptoutils.UnmarshalPEMToPublicKey(secret[name])
		if err != nil {
			return nil, fmt.Errorf("%s is not a public key in PEM", name)
		}
		verifier, err := signature.LoadVerifier(public, crypto.SHA256)
		if err != nil {
			return nil, fmt.Errorf("%s is a public key of a kind that cosign does not sign with", name)
		}
		keys = append(keys, key{name, verifier})
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("the Secret holds no public key: name them *%s", keyFile)
	}
	return keys, nil
}

// Verify returns which key has signed an artifact. digest is its SHA-256, in
// hex.
func (keys Keys) Verify(digest string, found []Signature) (by string, err error) {
	for _, s := range found {
		for _, k := range keys {
			if k.signed(digest, s) {
				return "key " + k.name, nil
			}
		}
	}
	return "", fmt.Errorf("none of its %d signatures is by one of the %d keys", len(found), len(keys))
}

func (k key) signed(digest string, s Signature) bool {
	if len(s.Bundle) == 0 {
		return k.verifier.VerifySignature(bytes.NewReader(s.Signature), bytes.NewReader(s.Payload)) == nil && about(s.Payload, digest)
	}
	trusted := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
		return root.NewExpiringKey(k.verifier, time.Time{}, time.Time{}), nil
	})
	_, err := check(trusted, s.Bundle, digest, []verify.VerifierOption{verify.WithNoObserverTimestamps()}, verify.WithKey())
	return err == nil
}

// about reports whether a payload is of an artifact: a signature of another
// one could have been put next to it.
func about(payload []byte, digest string) bool {
	var p struct {
		Critical struct {
			Type  string `json:"type"`
			Image struct {
				Digest string `json:"docker-manifest-digest"`
			} `json:"image"`
		} `json:"critical"`
	}
	return json.Unmarshal(payload, &p) == nil && p.Critical.Type == "cosign container image signature" && p.Critical.Image.Digest == "sha256:"+digest
}

// check verifies a bundle.
func check(trusted root.TrustedMaterial, text []byte, digest string, options []verify.VerifierOption, policy ...verify.PolicyOption) (*verify.VerificationResult, error) {
	var b bundle.Bundle
	if err := b.UnmarshalJSON(text); err != nil {
		return nil, errors.New("the bundle cannot be read")
	}
	sum, err := hex.DecodeString(digest)
	if err != nil {
		return nil, fmt.Errorf("read a digest: %w", err)
	}
	v, err := verify.NewVerifier(trusted, options...)
	if err != nil {
		return nil, fmt.Errorf("set up the verifier: %w", err)
	}
	result, err := v.Verify(&b, verify.NewPolicy(verify.WithArtifactDigest("sha256", sum), policy...))
	if err != nil {
		return nil, fmt.Errorf("verify the bundle: %w", err)
	}
	return result, nil
}
