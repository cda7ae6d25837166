// Package notation decides whether an artifact is signed as the Notary Project
// signs, by someone whom a trust policy names.
package notation

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	notationgo "github.com/notaryproject/notation-go"
	"github.com/notaryproject/notation-go/registry"
	"github.com/notaryproject/notation-go/verifier"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// Keys of the Secret; they are Flux's: the trust policy, and the certificates
// of authorities.
const (
	keyPolicy = "trustpolicy.json"
	suffixPEM = ".pem"
	suffixCRT = ".crt"
)

// maxSignatures is how many signatures of an artifact are looked at.
const maxSignatures = 20

// Verifier knows whom to trust.
type Verifier struct {
	verifier notationgo.Verifier
	policies int
}

// New reads the values of a Secret.
func New(secret map[string][]byte) (*Verifier, error) {
	text, ok := secret[keyPolicy]
	if !ok {
		return nil, fmt.Errorf("the Secret has no %s", keyPolicy)
	}
	policy := &trustpolicy.Document{}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(policy); err != nil {
		return nil, fmt.Errorf("%s is not a trust policy: %w", keyPolicy, err)
	}
	certs, err := certificates(secret)
	if err != nil {
		return nil, err
	}
	v, err := verifier.New(policy, certs, nil) // no plug-ins: they would be programs
	if err != nil {
		return nil, fmt.Errorf("%s: %w", keyPolicy, err)
	}
	return &Verifier{v, len(policy.TrustPolicies)}, nil
}

// store is the certificates of authorities, whatever a policy calls them: they
// are all from the Secret that it is from.
type store []*x509.Certificate

// GetCertificates implements truststore.X509TrustStore.
func (s store) GetCertificates(context.Context, truststore.Type, string) ([]*x509.Certificate, error) {
	return s, nil
}

func certificates(secret map[string][]byte) (store, error) {
	var all store
	for _, file := range slices.Sorted(maps.Keys(secret)) {
		if !strings.HasSuffix(file, suffixPEM) && !strings.HasSuffix(file, suffixCRT) {
			continue
		}
		for rest := secret[file]; ; {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			cert, err := x509.ParseCertificate(block.Bytes)
			if block.Type != "CERTIFICATE" || err != nil {
				return nil, fmt.Errorf("%s holds something else than certificates", file)
			}
			all = append(all, cert)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("the Secret holds no certificate: name them *%s or *%s", suffixPEM, suffixCRT)
	}
	return all, nil
}

// Access is how a registry is reached.
type Access struct {
	Transport http.RoundTripper
	Auth      authn.Authenticator
	Plain     bool // over http
}

// Verify returns who has signed an artifact.
func (v *Verifier) Verify(ctx context.Context, artifact name.Digest, a Access) (by string, err error) {
	config, err := a.Auth.Authorization()
	if err != nil {
		return "", fmt.Errorf("read the credentials: %w", err)
	}
	repository, err := remote.NewRepository(artifact.Context().Name())
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	repository.PlainHTTP = a.Plain
	repository.Client = &auth.Client{
		Client: &http.Client{Transport: a.Transport},
		Credential: auth.StaticCredential(artifact.Context().RegistryStr(), auth.Credential{
			Username: config.Username, Password: config.Password, RefreshToken: config.IdentityToken, AccessToken: config.RegistryToken,
		}),
	}
	_, outcomes, err := notationgo.Verify(ctx, v.verifier, registry.NewRepository(repository), notationgo.VerifyOptions{
		ArtifactReference: artifact.Name(), MaxSignatureAttempts: maxSignatures,
	})
	if err != nil {
		return "", explain(err)
	}
	for _, o := range outcomes {
		if o.EnvelopeContent != nil && len(o.EnvelopeContent.SignerInfo.CertificateChain) > 0 {
			return o.EnvelopeContent.SignerInfo.CertificateChain[0].Subject.String(), nil
		}
	}
	// A policy of level skip lets everything through, and proves nothing.
	return "", errors.New("the trust policy asks for no signature: its level is skip")
}

// explain shortens what the library says.
func explain(err error) error {
	if _, ok := errors.AsType[notationgo.SignatureRetrievalFailedError](err); ok {
		return errors.New("it is not signed")
	}
	if _, ok := errors.AsType[notationgo.NoApplicableTrustPolicyError](err); ok {
		return fmt.Errorf("no statement of %s is about this repository", keyPolicy)
	}
	if _, ok := errors.AsType[notationgo.VerificationFailedError](err); ok {
		return errors.New("none of its signatures is as the trust policy wants it")
	}
	return err
}
