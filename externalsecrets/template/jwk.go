package template

import (
	"crypto/x509"
	"encoding/pem"
	"errors"

	"github.com/lestrrat-go/jwx/v2/jwk"
)

// errJWK replaces the library's messages, which quote the key.
var errJWK = errors.New("no JSON Web Key of RSA, EC or Ed25519")

// jwkPublicKeyPem is the public key of a JSON Web Key, as PEM.
func jwkPublicKeyPem(text string) (string, error) {
	k, err := jwk.ParseKey([]byte(text))
	if err != nil {
		return "", errJWK
	}
	public, err := k.PublicKey()
	if err != nil {
		return "", errJWK
	}
	return encodeKey(public, "PUBLIC KEY", x509.MarshalPKIXPublicKey)
}

// jwkPrivateKeyPem is the private key of a JSON Web Key, as PEM of PKCS #8.
func jwkPrivateKeyPem(text string) (string, error) {
	k, err := jwk.ParseKey([]byte(text))
	if err != nil {
		return "", errJWK
	}
	return encodeKey(k, "PRIVATE KEY", x509.MarshalPKCS8PrivateKey)
}

func encodeKey(k jwk.Key, kind string, marshal func(any) ([]byte, error)) (string, error) {
	if k.Validate() != nil {
		return "", errJWK
	}
	var raw any
	if k.Raw(&raw) != nil {
		return "", errJWK
	}
	der, err := marshal(raw)
	if err != nil {
		return "", errJWK
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})), nil
}
