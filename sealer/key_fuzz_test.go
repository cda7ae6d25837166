package sealer

import (
	"bytes"
	"encoding/pem"
	"testing"
	"time"
)

// FuzzKeyText checks that a text in PEM form is read or refused, and that what
// is read is printed and read again as what it was.
func FuzzKeyText(f *testing.F) {
	key, cert, err := NewCertificate(MinKeySize, time.Hour, "cn")
	if err != nil {
		f.Fatal(err)
	}
	certText, keyText := EncodeCertificate(cert), EncodePrivateKey(key)
	for _, seed := range [][]byte{
		certText, keyText, append(bytes.Clone(certText), keyText...), certText[:len(certText)/2], nil, []byte("text"),
		pem.EncodeToMemory(&pem.Block{Type: certificateBlock}), pem.EncodeToMemory(&pem.Block{Type: pkcs8Block, Bytes: []byte{0x30}}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyText}),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if cert, err := ParseCertificate(text); err == nil {
			again, err := ParseCertificate(EncodeCertificate(cert))
			if err != nil || !again.Equal(cert) {
				t.Errorf("certificate: %v", err)
			}
		}
		if key, err := ParsePrivateKey(text); err == nil {
			again, err := ParsePrivateKey(EncodePrivateKey(key))
			if err != nil || !again.Equal(key) {
				t.Errorf("private key: %v", err)
			}
		}
	})
}
