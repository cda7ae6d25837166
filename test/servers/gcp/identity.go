package main

import (
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// keySet reads the public keys of one issuer of web identity tokens.
type keySet struct {
	issuer, url string
	client      *http.Client
}

func newKeySet(issuer, url, caFile string) (*keySet, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if caFile != "" {
		data, err := os.ReadFile(caFile)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("%s: no certificate in it", caFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &keySet{issuer: issuer, url: url, client: &http.Client{Transport: transport, Timeout: 5 * time.Second}}, nil
}

// verify checks a token's signature, issuer, lifetime and audience, and
// returns its subject. What it says is for who is refused, and holds no token.
func (k *keySet) verify(token string, audiences ...string) (subject string, err error) {
	if k.issuer == "" {
		return "", errors.New("no issuer is trusted")
	}
	claims := &jwt.RegisteredClaims{}
	_, err = jwt.ParseWithClaims(token, claims, k.key, jwt.WithValidMethods([]string{"RS256"}), jwt.WithExpirationRequired(),
		jwt.WithIssuer(k.issuer), jwt.WithAudience(audiences...), jwt.WithIssuedAt())
	if err != nil {
		return "", errors.New("the subject token is not valid")
	}
	return claims.Subject, nil
}

// key finds the key that a token says it is signed with. It is read anew for
// each token: a test may restart the issuer.
func (k *keySet) key(t *jwt.Token) (any, error) {
	url := k.url
	if url == "" {
		var discovery struct {
			Keys string `json:"jwks_uri"`
		}
		if err := k.get(strings.TrimSuffix(k.issuer, "/")+"/.well-known/openid-configuration", &discovery); err != nil {
			return nil, err
		}
		url = discovery.Keys
	}
	var set struct {
		Keys []struct{ Kid, Kty, N, E string }
	}
	if err := k.get(url, &set); err != nil {
		return nil, err
	}
	for _, key := range set.Keys {
		if key.Kid == t.Header["kid"] && key.Kty == "RSA" {
			return publicKey(key.N, key.E)
		}
	}
	return nil, fmt.Errorf("no RSA key %v at %s", t.Header["kid"], url)
}

func publicKey(n, e string) (*rsa.PublicKey, error) {
	modulus, err := base64.RawURLEncoding.DecodeString(n)
	if err != nil {
		return nil, fmt.Errorf("modulus: %w", err)
	}
	exponent, err := base64.RawURLEncoding.DecodeString(e)
	if err != nil {
		return nil, fmt.Errorf("exponent: %w", err)
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: int(new(big.Int).SetBytes(exponent).Int64())}, nil
}

func (k *keySet) get(url string, out any) error {
	answer, err := k.client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, answer.Status)
	}
	return json.NewDecoder(answer.Body).Decode(out)
}
