package template

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"
)

// authority makes a root, an intermediate and a leaf, each as PEM.
func authority(t *testing.T) (leaf, intermediate, root string) {
	t.Helper()
	var parent *x509.Certificate
	var parentKey *ecdsa.PrivateKey
	var out []string
	for i, name := range []string{"root", "intermediate", "leaf.example.org"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour), IsCA: i < 2, BasicConstraintsValid: true, SubjectKeyId: []byte{byte(i + 1)}}
		if parent == nil {
			parent, parentKey = c, key
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), parentKey)
		if err != nil {
			t.Fatal(err)
		}
		if parent, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
		parentKey = key
		out = append(out, string(pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: der})))
	}
	return out[2], out[1], out[0]
}

func TestCertificates(t *testing.T) {
	leaf, intermediate, root := authority(t)
	mixed := "junk\n" + root + leaf + intermediate
	for kind, want := range map[string]string{"leaf": leaf, "intermediate": intermediate, "root": root, "other": ""} {
		if got, err := filterCertChain(kind, mixed); err != nil || got != want {
			t.Errorf("%s: got %q, %v", kind, got, err)
		}
	}
	if _, err := filterCertChain("leaf", leaf+root); err == nil {
		t.Error("two leaves: want an error")
	}
	if got, err := filterPEM("certificate", mixed); err != nil || got != root+leaf+intermediate {
		t.Errorf("filterPEM: got %q, %v", got, err)
	}
	if got, err := filterPEM("PRIVATE KEY", mixed); err != nil || got != "" {
		t.Errorf("filterPEM of another type: got %q, %v", got, err)
	}
	if _, err := filterPEM("CERTIFICATE", "junk"); err == nil {
		t.Error("filterPEM of junk: want an error")
	}
	if got, err := certSANs(leaf); err != nil || strings.Join(got, ",") != "leaf.example.org" {
		t.Errorf("certSANs: got %v, %v", got, err)
	}
}

func TestKeysOfJWK(t *testing.T) {
	b64 := base64.RawURLEncoding.EncodeToString
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := e.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	scalar, err := e.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		key any
		jwk map[string]string
	}{
		"RSA": {r, map[string]string{"kty": "RSA", "n": b64(r.N.Bytes()), "e": "AQAB", "d": b64(r.D.Bytes()), "p": b64(r.Primes[0].Bytes()), "q": b64(r.Primes[1].Bytes())}},
		"EC":  {e, map[string]string{"kty": "EC", "crv": "P-384", "x": b64(point[1:49]), "y": b64(point[49:]), "d": b64(scalar)}},
		"OKP": {private, map[string]string{"kty": "OKP", "crv": "Ed25519", "x": b64(public), "d": b64(private.Seed())}},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := json.Marshal(tc.jwk)
			if err != nil {
				t.Fatal(err)
			}
			der, err := x509.MarshalPKCS8PrivateKey(tc.key)
			if err != nil {
				t.Fatal(err)
			}
			want := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
			if got, err := jwkPrivateKeyPem(string(text)); err != nil || got != want {
				t.Errorf("private: %v", err)
			}
			if got, err := jwkPublicKeyPem(string(text)); err != nil || !strings.HasPrefix(got, "-----BEGIN PUBLIC KEY-----") {
				t.Errorf("public: %v", err)
			}
		})
	}
	for _, bad := range []string{"", "{}", `{"kty":"RSA"}`, `{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}`, `{"kty":"oct","k":"AA"}`} {
		if _, err := jwkPrivateKeyPem(bad); err == nil {
			t.Errorf("%q: want an error", bad)
		}
	}
}

func TestRSADecrypt(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, &key.PublicKey, []byte("hunter2"), nil)
	if err != nil {
		t.Fatal(err)
	}
	private := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	if got, err := rsaDecrypt("RSA-OAEP", "SHA256", string(sealed), private); err != nil || got != "hunter2" {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := rsaDecrypt("None", "", "as is", ""); err != nil || got != "as is" {
		t.Errorf("got %q, %v", got, err)
	}
	for _, bad := range [][4]string{{"RSA-OAEP", "SHA1", string(sealed), private}, {"RSA-OAEP", "SHA256", "x", "no key"}, {"PKCS1", "", "", ""}} {
		if _, err := rsaDecrypt(bad[0], bad[1], bad[2], bad[3]); err == nil {
			t.Errorf("%s with %s: want an error", bad[0], bad[1])
		}
	}
}
