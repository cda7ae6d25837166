package template

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
)

// jwk is a JSON Web Key. Source: RFC 7518, section 6; RFC 8037, section 2.
type jwk struct {
	Kty string `json:"kty"`
	Crv string `json:"crv"`
	X   string `json:"x"`
	Y   string `json:"y"`
	N   string `json:"n"`
	E   string `json:"e"`
	D   string `json:"d"`
	P   string `json:"p"`
	Q   string `json:"q"`
}

var errJWK = errors.New("no JSON Web Key of RSA, EC or Ed25519")

func readJWK(text string) (*jwk, error) {
	k := &jwk{}
	if err := json.Unmarshal([]byte(text), k); err != nil {
		return nil, errJWK
	}
	return k, nil
}

func octets(text string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil
	}
	return b
}

func number(text string) *big.Int { return new(big.Int).SetBytes(octets(text)) }

func (k *jwk) public() (crypto.PublicKey, error) {
	switch k.Kty {
	case "RSA":
		e := number(k.E)
		if k.N == "" || !e.IsInt64() || e.Int64() > 1<<31-1 || e.Int64() < 2 {
			return nil, errJWK
		}
		return &rsa.PublicKey{N: number(k.N), E: int(e.Int64())}, nil
	case "EC":
		curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[k.Crv]
		if curve == nil {
			return nil, errJWK
		}
		size := (curve.Params().BitSize + 7) / 8
		x, y := number(k.X), number(k.Y)
		if x.BitLen() > size*8 || y.BitLen() > size*8 {
			return nil, errJWK
		}
		point := append([]byte{4}, x.FillBytes(make([]byte, size))...)
		return ecdsa.ParseUncompressedPublicKey(curve, append(point, y.FillBytes(make([]byte, size))...))
	case "OKP":
		if x := octets(k.X); k.Crv == "Ed25519" && len(x) == ed25519.PublicKeySize {
			return ed25519.PublicKey(x), nil
		}
	}
	return nil, errJWK
}

func (k *jwk) private() (crypto.PrivateKey, error) {
	public, err := k.public()
	if err != nil {
		return nil, err
	}
	switch p := public.(type) {
	case *rsa.PublicKey:
		key := &rsa.PrivateKey{PublicKey: *p, D: number(k.D), Primes: []*big.Int{number(k.P), number(k.Q)}}
		if err := key.Validate(); err != nil {
			return nil, errJWK
		}
		key.Precompute()
		return key, nil
	case *ecdsa.PublicKey:
		size := (p.Curve.Params().BitSize + 7) / 8
		if d := number(k.D); d.BitLen() <= size*8 {
			return ecdsa.ParseRawPrivateKey(p.Curve, d.FillBytes(make([]byte, size)))
		}
	case ed25519.PublicKey:
		if d := octets(k.D); len(d) == ed25519.SeedSize {
			return ed25519.NewKeyFromSeed(d), nil
		}
	}
	return nil, errJWK
}

// jwkPublicKeyPem is the public key of a JSON Web Key, as PEM.
func jwkPublicKeyPem(text string) (string, error) {
	k, err := readJWK(text)
	if err != nil {
		return "", err
	}
	key, err := k.public()
	if err != nil {
		return "", errJWK
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", errJWK
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
}

// jwkPrivateKeyPem is the private key of a JSON Web Key, as PEM of PKCS #8.
func jwkPrivateKeyPem(text string) (string, error) {
	k, err := readJWK(text)
	if err != nil {
		return "", err
	}
	key, err := k.private()
	if err != nil {
		return "", errJWK
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", errJWK
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}
