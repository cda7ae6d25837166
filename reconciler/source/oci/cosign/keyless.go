package cosign

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// Identity is who may sign: regular expressions of the issuer of their token,
// and of their name in it.
type Identity struct{ Issuer, Subject string }

// Identities are who may sign, and by whose word they are who they are.
type Identities struct {
	trusted root.TrustedMaterial
	options []verify.VerifierOption
	allowed []verify.PolicyOption
	all     []Identity
}

// NewIdentities returns identities by the word of the authorities and logs of
// a trusted root.
func NewIdentities(trusted root.TrustedMaterial, all []Identity) (*Identities, error) {
	if len(all) == 0 {
		return nil, errors.New("spec.verify.matchOIDCIdentity is empty: say who may sign, for anyone in the world can get a certificate")
	}
	i := &Identities{trusted: trusted, all: all, options: []verify.VerifierOption{verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1)}}
	if len(trusted.CTLogs()) > 0 {
		i.options = append(i.options, verify.WithSignedCertificateTimestamps(1))
	}
	for n, id := range all {
		one, err := verify.NewShortCertificateIdentity("", id.Issuer, "", id.Subject)
		if err != nil {
			return nil, fmt.Errorf("spec.verify.matchOIDCIdentity[%d]: issuer and subject are to be regular expressions", n)
		}
		i.allowed = append(i.allowed, verify.WithCertificateIdentity(one))
	}
	return i, nil
}

// ParseRoot reads a trusted root, as 'cosign trusted-root create' writes it.
func ParseRoot(text []byte) (root.TrustedMaterial, error) {
	found, err := root.NewTrustedRootFromJSON(text)
	if err != nil {
		return nil, errors.New("it is not a trusted root of Sigstore in JSON")
	}
	return found, nil
}

// Verify returns who has signed an artifact. digest is its SHA-256, in hex.
func (i *Identities) Verify(digest string, found []Signature) (by string, err error) {
	why := errors.New("it has no signature with a certificate")
	for _, s := range found {
		result, err := i.signed(digest, s)
		if err == nil && result.Signature != nil && result.Signature.Certificate != nil {
			c := result.Signature.Certificate
			return fmt.Sprintf("%s of %s", c.SubjectAlternativeName, c.Issuer), nil
		}
		if err != nil {
			why = err
		}
	}
	return "", fmt.Errorf("none of its %d signatures is by one of the %d identities of spec.verify.matchOIDCIdentity: %w", len(found), len(i.all), why)
}

func (i *Identities) signed(digest string, s Signature) (*verify.VerificationResult, error) {
	if len(s.Bundle) > 0 {
		return check(i.trusted, s.Bundle, digest, i.options, i.allowed...)
	}
	if len(s.Certificate) == 0 {
		return nil, errors.New("it has no signature with a certificate")
	}
	if !about(s.Payload, digest) {
		return nil, errors.New("the signature is of another artifact")
	}
	b, err := assemble(s)
	if err != nil {
		return nil, err
	}
	v, err := verify.NewVerifier(i.trusted, i.options...)
	if err != nil {
		return nil, fmt.Errorf("set up the verifier: %w", err)
	}
	result, err := v.Verify(b, verify.NewPolicy(verify.WithArtifact(bytes.NewReader(s.Payload)), i.allowed...))
	if err != nil {
		return nil, fmt.Errorf("verify the signature: %w", err)
	}
	return result, nil
}

// logged is what Rekor promised about an entry, as cosign keeps it.
type logged struct {
	SignedEntryTimestamp []byte `json:"SignedEntryTimestamp"`
	Payload              struct {
		Body           string `json:"body"`
		IntegratedTime int64  `json:"integratedTime"`
		LogIndex       int64  `json:"logIndex"`
		LogID          string `json:"logID"`
	} `json:"Payload"`
}

// assemble makes a bundle of the parts of a signature.
func assemble(s Signature) (*bundle.Bundle, error) {
	block, _ := pem.Decode(s.Certificate)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("its certificate cannot be read")
	}
	entry, err := assembleEntry(s.Log)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(s.Payload)
	made, err := bundle.NewBundle(&protobundle.Bundle{
		MediaType: "application/vnd.dev.sigstore.bundle+json;version=0.1",
		VerificationMaterial: &protobundle.VerificationMaterial{
			Content: &protobundle.VerificationMaterial_X509CertificateChain{X509CertificateChain: &protocommon.X509CertificateChain{
				Certificates: []*protocommon.X509Certificate{{RawBytes: block.Bytes}},
			}},
			TlogEntries: []*protorekor.TransparencyLogEntry{entry},
		},
		Content: &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
			MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: sum[:]},
			Signature:     s.Signature,
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("assemble the signature: %w", err)
	}
	return made, nil
}

func assembleEntry(text []byte) (*protorekor.TransparencyLogEntry, error) {
	var l logged
	var kind struct {
		Kind       string `json:"kind"`
		APIVersion string `json:"apiVersion"`
	}
	err := json.Unmarshal(text, &l)
	if err != nil {
		return nil, errors.New("it was not entered into a log, or the promise of that cannot be read")
	}
	body, err := base64.StdEncoding.DecodeString(l.Payload.Body)
	if err == nil {
		err = json.Unmarshal(body, &kind)
	}
	id, idErr := hex.DecodeString(l.Payload.LogID)
	if err != nil || idErr != nil {
		return nil, errors.New("the entry in the log cannot be read")
	}
	return &protorekor.TransparencyLogEntry{
		LogIndex: l.Payload.LogIndex, LogId: &protocommon.LogId{KeyId: id}, IntegratedTime: l.Payload.IntegratedTime,
		KindVersion:       &protorekor.KindVersion{Kind: kind.Kind, Version: kind.APIVersion},
		InclusionPromise:  &protorekor.InclusionPromise{SignedEntryTimestamp: l.SignedEntryTimestamp},
		CanonicalizedBody: body,
	}, nil
}
