package sealer

import (
	"bytes"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/test/seeds"
)

// FuzzKeyText checks that a text in PEM form is read or refused, and that what
// is read is printed and read again as what it was.
func FuzzKeyText(f *testing.F) {
	key, cert, err := NewCertificate(MinKeySize, time.Hour, "cn")
	if err != nil {
		f.Fatal(err)
	}
	certText, keyText := EncodeCertificate(cert), EncodePrivateKey(key)
	seeds.Add(f,
		certText, keyText, append(bytes.Clone(certText), keyText...), certText[:len(certText)/2], nil, []byte("text"),
		pem.EncodeToMemory(&pem.Block{Type: certificateBlock}), pem.EncodeToMemory(&pem.Block{Type: pkcs8Block, Bytes: []byte{0x30}}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyText}),
	)
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

// FuzzHybridKey checks that a key of envelope 2 is read or refused, that what is
// read is printed as what it was, and that an error repeats nothing of it.
func FuzzHybridKey(f *testing.F) {
	key := newHybrid(f, NewClusterID())
	text := key.Encode()
	seeds.Add(f, text, append([]byte("canary\n"), text...), text[:len(text)/2], append(bytes.Clone(text), text...), nil, []byte("text"),
		pem.EncodeToMemory(&pem.Block{Type: hybridBlock, Bytes: []byte("canary")}), bytes.Replace(text, []byte(clusterHeader), []byte("canary"), 1),
		pem.EncodeToMemory(&pem.Block{Type: hybridBlock, Headers: map[string]string{clusterHeader: ClusterID{}.String()}, Bytes: []byte("canary")}))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, ok, err := ParseHybridKey(text)
		if err != nil && (!ok || strings.Contains(err.Error(), "canary")) {
			t.Fatalf("found: %v, and the error repeats the text: %v", ok, err)
		}
		if !ok || err != nil {
			return
		}
		again, ok, err := ParseHybridKey(key.Encode())
		if err != nil || !ok || again.ID != key.ID || again.Cluster != key.Cluster || !again.Signer.Equal(key.Signer) {
			t.Errorf("read again: %v, %v", ok, err)
		}
	})
}

// FuzzRecipients checks that public keys are read or refused, and have one
// spelling only.
func FuzzRecipients(f *testing.F) {
	ring, bundle := published(f, NewClusterID(), 2)
	text, err := ring.Publish()
	if err != nil {
		f.Fatal(err)
	}
	key := bundle.Newest().String()
	seeds.Add(f, string(text), key, key+"\n"+key+"\n", key[:50], "ls2pub.", "{", "{}", "", "\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := ParseRecipients([]byte(text))
		if (err == nil) != (len(all) > 0) {
			t.Fatalf("%d keys, and %v", len(all), err)
		}
		for _, r := range all {
			if !strings.Contains(text, r.String()) {
				t.Errorf("%v is not in %q", r, text)
			}
		}
	})
}

// FuzzIDs checks that an id has one spelling only.
func FuzzIDs(f *testing.F) {
	seeds.Add(f, NewClusterID().String(), strings.ToUpper(NewClusterID().String()), "", "00", strings.Repeat("g", 32), strings.Repeat("0", 33))
	f.Fuzz(func(t *testing.T, text string) {
		cluster, err := ParseClusterID(text)
		key, keyErr := ParseKeyID(text)
		if (err == nil) != (keyErr == nil) || err == nil && (cluster.String() != text || key.String() != text) {
			t.Errorf("%q: %v, %v; %v, %v", text, cluster, err, key, keyErr)
		}
	})
}
