// Package certificates has what is taken for a certificate and is none.
package certificates

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/sealer"
)

// Not returns what people hand over in the place of a certificate
// of a sealing key, by what is wrong with it.
func Not(t testing.TB) map[string][]byte {
	t.Helper()
	key, cert, err := sealer.NewCertificate(sealer.MinKeySize, time.Hour, "")
	if err != nil {
		t.Fatal(err)
	}
	_, expired, err := sealer.NewCertificate(sealer.MinKeySize, time.Nanosecond, "")
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	ec, err := x509.CreateCertificate(rand.Reader, template, template, &curve.PublicKey, curve)
	if err != nil {
		t.Fatal(err)
	}
	text := sealer.EncodeCertificate(cert)
	return map[string][]byte{
		"Garbage":    []byte("\x00\x01canary\xff"),
		"Empty":      nil,
		"EC":         pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ec}),
		"Expired":    sealer.EncodeCertificate(expired),
		"Truncated":  text[:len(text)/2],
		"Shortened":  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw[:len(cert.Raw)/2]}),
		"PrivateKey": sealer.EncodePrivateKey(key),
		"Bundle":     []byte(`{"statement":{"version":2}}`),
		"PublicKey":  []byte("ls2pub.AAAA"),
		"Large":      bytes.Repeat([]byte("x"), sealer.MaxBundle+1),
	}
}
