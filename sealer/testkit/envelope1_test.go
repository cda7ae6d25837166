package testkit_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"testing"

	"github.com/lockstep-dev/lockstep/sealer/testkit"
)

// Every vector of envelope 1 is read with the standard library and nothing
// else, as the format is written down.
func TestIndependently1(t *testing.T) {
	all, err := testkit.Vectors()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 200 {
		t.Fatalf("there are %d vectors, want 200 at least", len(all))
	}
	seen := map[string]int{}
	for _, v := range all {
		seen[v.Expect]++
		value, class := read1(t, v)
		if class != v.Expect || !bytes.Equal(value, v.Plaintext) {
			t.Errorf("%s: %s: got %q, %d bytes, want %q, %d bytes", v.Name, v.About, class, len(value), v.Expect, len(v.Plaintext))
		}
	}
	for _, class := range []string{testkit.ExpectOK, testkit.ExpectFormat, testkit.ExpectNoKey, testkit.ExpectTamper} {
		if seen[class] == 0 {
			t.Errorf("no vector of class %q", class)
		}
	}
	t.Logf("%d vectors: %v", len(all), seen)
}

// read1 opens length || RSA-OAEP(SHA-256, label, session key) ||
// AES-256-GCM(session key, zero nonce, value).
func read1(t *testing.T, v testkit.Vector) (value []byte, class string) {
	t.Helper()
	key, err := x509.ParsePKCS1PrivateKey(v.Key)
	if err != nil {
		t.Fatal(err)
	}
	const largest = 2048 // bytes of a modulus
	if len(v.Sealed) < 2 {
		return nil, testkit.ExpectFormat
	}
	n, rest := int(binary.BigEndian.Uint16(v.Sealed)), v.Sealed[2:]
	if n == 0 || n > largest || len(rest) < n+16 {
		return nil, testkit.ExpectFormat
	}
	label := map[string]string{"strict": v.Namespace + "/" + v.SecretName, "namespace-wide": v.Namespace, "cluster-wide": ""}[v.Scope]
	session, err := rsa.DecryptOAEP(sha256.New(), nil, key, rest[:n], []byte(label))
	if err != nil {
		return nil, testkit.ExpectNoKey
	}
	block, err := aes.NewCipher(session)
	if err != nil || len(session) != 32 {
		return nil, testkit.ExpectFormat
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	value, err = aead.Open(nil, make([]byte, 12), rest[n:], nil)
	if err != nil {
		return nil, testkit.ExpectTamper
	}
	return value, testkit.ExpectOK
}
