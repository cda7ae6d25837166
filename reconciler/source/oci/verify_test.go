package oci_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	notationgo "github.com/notaryproject/notation-go"
	notationregistry "github.com/notaryproject/notation-go/registry"
	"github.com/notaryproject/notation-go/signer"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	orasremote "oras.land/oras-go/v2/registry/remote"
)

// pair is a key that signs.
type pair struct {
	*ecdsa.PrivateKey
	public string // PEM
}

func newPair(t *testing.T) pair {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return pair{k, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}
}

func (p pair) sign(t *testing.T, text []byte) []byte {
	t.Helper()
	sum := sha256.Sum256(text)
	sig, err := p.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// payload is what cosign signs.
// Source: https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
func payload(digest string) []byte {
	return fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":""},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`, digest)
}

// pushParts puts a signature at the tag for it.
func (b *bench) pushParts(digest string, text []byte, annotations map[string]string) {
	b.t.Helper()
	img, err := mutate.Append(mutate.MediaType(empty.Image, types.OCIManifestSchema1), mutate.Addendum{
		Layer: static.NewLayer(text, "application/vnd.dev.cosign.simplesigning.v1+json"), Annotations: annotations,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.pushImage(img, strings.Replace(digest, ":", "-", 1)+".sig")
}

// signParts signs with a key, as cosign 2 does.
func (b *bench) signParts(k pair, digest, of string) {
	text := payload(of)
	b.pushParts(digest, text, map[string]string{"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(k.sign(b.t, text))})
}

// signBundle signs with a key, as cosign 3 does: a bundle that refers to the
// artifact.
func (b *bench) signBundle(k pair, digest string) {
	b.t.Helper()
	const kind = "application/vnd.in-toto+json"
	statement := fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":%q}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}}`, strings.TrimPrefix(digest, "sha256:"))
	pae := fmt.Sprintf("DSSEv1 %d %s %d %s", len(kind), kind, len(statement), statement)
	bundle, err := json.Marshal(map[string]any{
		"mediaType":            "application/vnd.dev.sigstore.bundle.v0.3+json",
		"verificationMaterial": map[string]any{"publicKey": map[string]any{"hint": "key"}},
		"dsseEnvelope": map[string]any{
			"payload": []byte(statement), "payloadType": kind,
			"signatures": []any{map[string]any{"sig": k.sign(b.t, []byte(pae))}},
		},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	const bundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"
	img, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), bundleType), static.NewLayer(bundle, bundleType))
	if err != nil {
		b.t.Fatal(err)
	}
	subject, err := remote.Head(b.ref("@"+digest), b.options()...)
	if err != nil {
		b.t.Fatal(err)
	}
	img = mutate.Subject(img, v1.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size}).(v1.Image)
	sum, err := img.Digest()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := remote.Write(b.ref("@"+sum.String()), img, b.options()...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) verified() *sourcev1.OCIRepository {
	b.t.Helper()
	return b.eventually("verified", func(r *sourcev1.OCIRepository) bool {
		return apimeta.IsStatusConditionTrue(r.Status.Conditions, sourcev1.SourceVerifiedCondition) && apimeta.IsStatusConditionTrue(r.Status.Conditions, "Ready")
	})
}

func TestSignedByKey(t *testing.T) {
	b := start(t)
	k, other := newPair(t), newPair(t)
	digest := b.push(map[string]string{"x": "signed"}, "latest")
	b.secret("keys", map[string]string{"cosign.pub": k.public})
	b.create(func(s *sourcev1.OCIRepositorySpec) {
		s.Verify = &sourcev1.OCIRepositoryVerification{Provider: "cosign", SecretRef: &meta.LocalObjectReference{Name: "keys"}}
	})
	b.failed(sourcev1.VerificationError, "0 signatures")
	b.signParts(other, digest, digest)
	b.request()
	b.failed(sourcev1.VerificationError, "none of its 1 signatures")
	b.signParts(k, digest, "sha256:"+strings.Repeat("0", 64)) // of another artifact
	b.request()
	b.failed(sourcev1.VerificationError, "none of its 1 signatures")
	if _, err := b.file("x"); err == nil {
		t.Fatal("an artifact that is not trusted is there")
	}
	b.signParts(k, digest, digest)
	b.request()
	b.verified()
	b.registry.Requests()
	b.request()
	if all := b.registry.Requests(); len(all) != 1 {
		t.Errorf("requests when nothing changed: %v", all)
	}
	// A key that is taken away fails the object at once, without a new artifact.
	b.secret("keys", map[string]string{"cosign.pub": other.public})
	b.failed(sourcev1.VerificationError, "none of its")
	b.secret("keys", map[string]string{"a.pub": other.public, "b.pub": k.public})
	b.verified()
	b.secret("keys", map[string]string{"a.pub": "none"})
	b.failed(sourcev1.VerificationError, "a.pub is not a public key")
}

func TestSignedByKeyInABundle(t *testing.T) {
	b := start(t)
	k := newPair(t)
	digest := b.push(map[string]string{"x": "signed"}, "latest")
	b.secret("keys", map[string]string{"cosign.pub": k.public})
	b.signBundle(newPair(t), digest)
	b.create(func(s *sourcev1.OCIRepositorySpec) {
		s.Verify = &sourcev1.OCIRepositoryVerification{Provider: "cosign", SecretRef: &meta.LocalObjectReference{Name: "keys"}}
	})
	b.failed(sourcev1.VerificationError, "none of its 1 signatures")
	b.signBundle(k, digest)
	b.request()
	b.verified()
}

// TestSignedByIdentity signs by a certificate of a Fulcio, logged by a Rekor,
// both of this test.
func TestSignedByIdentity(t *testing.T) {
	b := start(t)
	sigstore, err := ca.NewVirtualSigstore()
	if err != nil {
		t.Fatal(err)
	}
	logs := sigstore.RekorLogs()
	for id, log := range logs {
		if log.ID, err = hex.DecodeString(id); err != nil { // as it is in a file
			t.Fatal(err)
		}
	}
	trusted, err := root.NewTrustedRoot(root.TrustedRootMediaType01, sigstore.FulcioCertificateAuthorities(), nil, sigstore.TimestampingAuthorities(), logs)
	if err != nil {
		t.Fatal(err)
	}
	text, err := trusted.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	b.secret("root", map[string]string{"trusted_root.json": string(text)})
	digest := b.push(map[string]string{"x": "signed"}, "latest")
	b.signKeyless(sigstore, "ci@example.test", "https://issuer.example.test", digest)
	b.create(func(s *sourcev1.OCIRepositorySpec) {
		s.Verify = &sourcev1.OCIRepositoryVerification{Provider: "cosign", TrustedRootSecretRef: &meta.LocalObjectReference{Name: "root"}}
	})
	b.failed(sourcev1.VerificationError, "matchOIDCIdentity is empty")
	match := func(issuer, subject string) {
		b.change(func(r *sourcev1.OCIRepository) {
			r.Spec.Verify.MatchOIDCIdentity = []sourcev1.OIDCIdentityMatch{{Issuer: issuer, Subject: subject}}
		})
	}
	match("^https://issuer\\.example\\.test$", "^someone@else$")
	b.failed(sourcev1.VerificationError, "identities")
	match("^https://other$", "^ci@example\\.test$")
	b.failed(sourcev1.VerificationError, "identities")
	match("^https://issuer\\.example\\.test$", "^ci@example\\.test$")
	r := b.verified()
	if c := apimeta.FindStatusCondition(r.Status.Conditions, sourcev1.SourceVerifiedCondition); !strings.Contains(c.Message, "ci@example.test") {
		t.Errorf("message: %s", c.Message)
	}
	// By an authority that nobody trusts.
	foreign, err := ca.NewVirtualSigstore()
	if err != nil {
		t.Fatal(err)
	}
	next := b.push(map[string]string{"x": "foreign"}, "latest")
	b.signKeyless(foreign, "ci@example.test", "https://issuer.example.test", next)
	b.request()
	b.failed(sourcev1.VerificationError, "is not trusted")
	if got, err := b.file("x"); got != "signed" {
		t.Errorf("x: %q, %v", got, err)
	}
}

// signKeyless signs with a certificate, as cosign 2 does.
func (b *bench) signKeyless(by *ca.VirtualSigstore, subject, issuer, digest string) {
	b.t.Helper()
	text := payload(digest)
	entity, err := by.Sign(subject, issuer, text)
	if err != nil {
		b.t.Fatal(err)
	}
	content, err := entity.VerificationContent()
	if err != nil {
		b.t.Fatal(err)
	}
	sig, err := entity.SignatureContent()
	if err != nil {
		b.t.Fatal(err)
	}
	entries, err := entity.TlogEntries()
	if err != nil {
		b.t.Fatal(err)
	}
	e := entries[0]
	entry := tlog.RekorPayload{Body: e.Body(), IntegratedTime: e.IntegratedTime().Unix(), LogIndex: e.LogIndex(), LogID: hex.EncodeToString([]byte(e.LogKeyID()))}
	promise, err := by.RekorSignPayload(entry)
	if err != nil {
		b.t.Fatal(err)
	}
	log, err := json.Marshal(map[string]any{"SignedEntryTimestamp": promise, "Payload": entry})
	if err != nil {
		b.t.Fatal(err)
	}
	b.pushParts(digest, text, map[string]string{
		"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(sig.Signature()),
		"dev.sigstore.cosign/certificate":    string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: content.Certificate().Raw})),
		"dev.sigstore.cosign/bundle":         string(log),
	})
}

// TestSignedByNotation signs with the library of the Notary Project.
func TestSignedByNotation(t *testing.T) {
	b := start(t)
	digest := b.push(map[string]string{"x": "signed"}, "latest")
	key, cert := certificate(t)
	policy := func(level string) string {
		return fmt.Sprintf(`{"version":"1.0","trustPolicies":[{"name":"all","registryScopes":["*"],"signatureVerification":{"level":%q},"trustStores":["ca:any"],"trustedIdentities":["*"]}]}`, level)
	}
	b.secret("trust", map[string]string{"trustpolicy.json": policy("strict"), "ca.crt": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))})
	b.create(func(s *sourcev1.OCIRepositorySpec) {
		s.Verify = &sourcev1.OCIRepositoryVerification{Provider: "notation", SecretRef: &meta.LocalObjectReference{Name: "trust"}}
	})
	b.failed(sourcev1.VerificationError, "not signed")
	strangerKey, stranger := certificate(t)
	b.signNotation(strangerKey, stranger, digest)
	b.request()
	b.failed(sourcev1.VerificationError, "none of its signatures")
	b.signNotation(key, cert, digest)
	b.request()
	b.verified()
	b.secret("trust", map[string]string{"trustpolicy.json": policy("skip"), "ca.crt": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))})
	b.failed(sourcev1.VerificationError)
	b.secret("trust", map[string]string{"trustpolicy.json": "{}"})
	b.failed(sourcev1.VerificationError, "spec.verify.secretRef")
}

// certificate makes one that may sign code, by itself.
func certificate(t *testing.T) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "signer", Organization: []string{"team"}, Country: []string{"US"}, Province: []string{"WA"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, cert
}

func (b *bench) signNotation(key *ecdsa.PrivateKey, cert *x509.Certificate, digest string) {
	b.t.Helper()
	s, err := signer.NewGenericSigner(key, []*x509.Certificate{cert})
	if err != nil {
		b.t.Fatal(err)
	}
	repository, err := orasremote.NewRepository(b.registry.Host() + "/team/app")
	if err != nil {
		b.t.Fatal(err)
	}
	repository.Client = &http.Client{Transport: b.registry.Client().Transport}
	if _, err := notationgo.Sign(b.t.Context(), s, notationregistry.NewRepository(repository), notationgo.SignOptions{
		SignerSignOptions: notationgo.SignerSignOptions{SignatureMediaType: "application/jose+json"},
		ArtifactReference: b.registry.Host() + "/team/app@" + digest,
	}); err != nil {
		b.t.Fatal(err)
	}
}
