package main

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// issuer serves the key under the id k.
func issuer(t *testing.T, key *rsa.PrivateKey) string {
	t.Helper()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"jwks_uri":%q}`, server.URL+"/keys")
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		encode := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.Bytes()) }
		fmt.Fprintf(w, `{"keys":[{"kid":"k","kty":"RSA","n":%q,"e":%q}]}`, encode(key.N), encode(big.NewInt(int64(key.E))))
	})
	return server.URL
}

func TestVerify(t *testing.T) {
	newKey := func() *rsa.PrivateKey {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	key, forged := newKey(), newKey()
	url := issuer(t, key)
	keys, err := newKeySet(url, "", "")
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		key      *rsa.PrivateKey
		issuer   string
		audience string
		ends     time.Duration
		want     string // error code
	}{
		"Good":     {key, url, "sts.amazonaws.com", time.Minute, ""},
		"Forged":   {forged, url, "sts.amazonaws.com", time.Minute, "InvalidIdentityToken"},
		"Issuer":   {key, "https://elsewhere", "sts.amazonaws.com", time.Minute, "InvalidIdentityToken"},
		"Audience": {key, url, "someone-else", time.Minute, "InvalidIdentityToken"},
		"Expired":  {key, url, "sts.amazonaws.com", -time.Minute, "ExpiredTokenException"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			token := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.RegisteredClaims{Issuer: tc.issuer, Subject: "who",
				Audience: jwt.ClaimStrings{tc.audience}, ExpiresAt: jwt.NewNumericDate(time.Now().Add(tc.ends))})
			token.Header["kid"] = "k"
			text, err := token.SignedString(tc.key)
			if err != nil {
				t.Fatal(err)
			}
			subject, err := keys.verify(text, "sts.amazonaws.com")
			if got := errorCode(err); got != tc.want || (tc.want == "" && subject != "who") {
				t.Errorf("verify: got %q, %q (%v), want %q", subject, got, err, tc.want)
			}
		})
	}
}
