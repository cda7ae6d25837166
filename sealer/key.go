package sealer

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// MinKeySize is the smallest sealing key that is made, in bits.
// Source: NIST SP 800-57 part 1, revision 5, table 2 (112-bit strength).
const MinKeySize = 2048

// PEM block types, as kubeseal's controller writes them.
const (
	certificateBlock = "CERTIFICATE"
	pkcs1Block       = "RSA PRIVATE KEY"
	pkcs8Block       = "PRIVATE KEY"
)

// NewCertificate makes a sealing key of the given size in bits, and a
// self-signed certificate that carries its public half to those who seal. It
// takes half a second for 4096 bits.
//
// Source: pkg/crypto/keys.go of bitnami-labs/sealed-secrets v0.36.6.
func NewCertificate(bits int, validFor time.Duration, commonName string) (*rsa.PrivateKey, *x509.Certificate, error) {
	if bits < MinKeySize || bits > maxModulus*8 {
		return nil, nil, fmt.Errorf("key size of %d bits: use %d to %d", bits, MinKeySize, maxModulus*8)
	}
	if validFor <= 0 {
		return nil, nil, fmt.Errorf("validity of %v: it must be positive, or kubeseal refuses the certificate as expired", validFor)
	}
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return nil, nil, fmt.Errorf("make serial number: %w", err)
	}
	now := time.Now().UTC() //nolint:forbidigo // a certificate is valid from now on
	template := &x509.Certificate{
		SerialNumber:          serial,
		KeyUsage:              x509.KeyUsageEncipherOnly,
		NotBefore:             now,
		NotAfter:              now.Add(validFor),
		Subject:               pkix.Name{CommonName: commonName},
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, nil, fmt.Errorf("sign certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, fmt.Errorf("sign certificate: %w", err)
	}
	return key, cert, nil
}

// ErrNoCertificate says that a text holds no certificate. Test for it with
// errors.Is.
var ErrNoCertificate = errors.New("no certificate in PEM form")

// ParseCertificate returns the first certificate of a PEM text. It must hold
// an RSA key; whether it has expired is for the caller to ask.
func ParseCertificate(text []byte) (*x509.Certificate, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != certificateBlock || len(block.Headers) != 0 {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parse certificate: %w", err)
		}
		if _, ok := cert.PublicKey.(*rsa.PublicKey); !ok {
			return nil, fmt.Errorf("certificate has a key of type %T: only RSA keys can seal", cert.PublicKey)
		}
		return cert, nil
	}
	return nil, ErrNoCertificate
}

// EncodeCertificate returns cert as PEM.
func EncodeCertificate(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: cert.Raw})
}

// ParsePrivateKey returns the first RSA private key of a PEM text, in the form
// of PKCS #1 or PKCS #8. Its errors hold nothing of the text.
func ParsePrivateKey(text []byte) (*rsa.PrivateKey, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case pkcs1Block:
			key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
			if err != nil {
				return nil, errors.New("malformed PKCS #1 private key")
			}
			return key, nil
		case pkcs8Block:
			key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, errors.New("malformed PKCS #8 private key")
			}
			rsaKey, ok := key.(*rsa.PrivateKey)
			if !ok {
				return nil, fmt.Errorf("private key of type %T: only RSA keys can open", key)
			}
			return rsaKey, nil
		}
	}
	return nil, errors.New("no private key in PEM form")
}

// EncodePrivateKey returns key as PEM, in the form of PKCS #1. The result is
// as secret as every value that was ever sealed for the key.
func EncodePrivateKey(key *rsa.PrivateKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pkcs1Block, Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

// Fingerprint names a public key: the SHA-256 of its DER-encoded
// SubjectPublicKeyInfo, as 64 lower-case hex digits. It is an identifier, not
// a secret, and is safe to log.
//
// It returns an error only if x509 does not know the type of pub.
//
// Source: RFC 7469, section 2.4.
func Fingerprint(pub any) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", fmt.Errorf("fingerprint: %w", err)
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}
