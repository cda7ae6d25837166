package sealer

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"
)

func newKeys(t *testing.T, n int) []*rsa.PrivateKey {
	t.Helper()
	var keys []*rsa.PrivateKey
	for range n {
		key, err := rsa.GenerateKey(rand.Reader, MinKeySize)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	return keys
}

func TestKeyringOrder(t *testing.T) {
	keys := newKeys(t, 3)
	ring := ringOf(t, keys...)
	newest, ok := ring.Newest()
	if !ok || !newest.Private.Equal(keys[2]) {
		t.Error("Newest is not the key with the latest NotBefore")
	}
	at := Binding{Namespace: "a", Name: "b"}
	for i, key := range keys {
		want, err := Fingerprint(&key.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := Seal(&key.PublicKey, []byte("v"), at.Label())
		if err != nil {
			t.Fatal(err)
		}
		for _, hint := range []string{"", want, newest.Fingerprint, "unknown"} {
			got, err := ring.Open(sealed, at, hint)
			if err != nil || got.Fingerprint != want {
				t.Errorf("Open with key %d, hint %.8q: got key %.8q, error %v", i, hint, got.Fingerprint, err)
			}
		}
	}
}

func TestKeyringChanged(t *testing.T) {
	keys := newKeys(t, 2)
	first, second := keyOf(t, keys[0], time.Unix(1, 0)), keyOf(t, keys[1], time.Unix(2, 0))
	ring := &Keyring{}
	told := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	changed := ring.Changed()
	ring.Set(first)
	if !told(changed) {
		t.Error("a first key: nobody was told")
	}
	changed = ring.Changed()
	ring.Set(first, first)
	if told(changed) {
		t.Error("the same key again: somebody was told")
	}
	ring.Set(second, first)
	if !told(changed) || ring.Len() != 2 {
		t.Errorf("a second key: told %v, %d keys", told(changed), ring.Len())
	}
}

func TestNoKeyNamesTheCause(t *testing.T) {
	keys := newKeys(t, 2)
	at := Binding{Namespace: "a", Name: "b"}
	sealed, err := Seal(&keys[0].PublicKey, []byte("v"), at.Label())
	if err != nil {
		t.Fatal(err)
	}
	large, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		ring *Keyring
		want string
	}{
		"NoKeys":    {&Keyring{}, "no sealing key yet"},
		"OtherSize": {ringOf(t, large), "key of 2048 bits"},
		"OtherKey":  {ringOf(t, keys[1]), "another namespace, name or scope"},
	}
	text2, err := SealItem([]byte("v"), prod, newHybrid(t, NewClusterID()).Recipient)
	if err != nil {
		t.Fatal(err)
	}
	for ring, want := range map[*Keyring]string{
		{}:                                    "no sealing key yet",
		ringOf(t, keys[0]):                    "no sealing key of envelope 2 here yet",
		ringOf2(t, newHybrid(t, ClusterID{})): "the keys here belong to no cluster",
	} {
		if _, err := ring.OpenItem(text2, prod, ""); !errors.Is(err, ErrNoKey) || !strings.Contains(err.Error(), want) {
			t.Errorf("OpenItem: got %v, want an ErrNoKey with %q", err, want)
		}
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := tc.ring.Open(sealed, at, "")
			if !errors.Is(err, ErrNoKey) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Open: got %v, want an ErrNoKey with %q", err, tc.want)
			}
		})
	}
}

func TestCertificate(t *testing.T) {
	key, cert, err := NewCertificate(MinKeySize, time.Hour, "cn")
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := ParseCertificate(EncodeCertificate(cert))
	if err != nil || !parsed.Equal(cert) {
		t.Errorf("ParseCertificate(EncodeCertificate): got %v", err)
	}
	private, err := ParsePrivateKey(EncodePrivateKey(key))
	if err != nil || !private.Equal(key) {
		t.Errorf("ParsePrivateKey(EncodePrivateKey): got %v", err)
	}
	if cert.NotAfter.Sub(cert.NotBefore) != time.Hour || cert.Subject.CommonName != "cn" || !cert.IsCA {
		t.Errorf("certificate: valid for %v, subject %v, CA %v", cert.NotAfter.Sub(cert.NotBefore), cert.Subject, cert.IsCA)
	}
	if _, err := NewKey(newKeys(t, 1)[0], cert); err == nil {
		t.Error("NewKey took a certificate of another key")
	}
}

func TestRefuses(t *testing.T) {
	if _, _, err := NewCertificate(1024, time.Hour, ""); err == nil {
		t.Error("NewCertificate made a key of 1024 bits")
	}
	if _, _, err := NewCertificate(MinKeySize, 0, ""); err == nil {
		t.Error("NewCertificate made a certificate that has expired")
	}
	for name, text := range map[string][]byte{
		"Empty":     nil,
		"Text":      []byte("no PEM"),
		"Malformed": pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: []byte("canary")}),
	} {
		if _, err := ParseCertificate(text); err == nil {
			t.Errorf("ParseCertificate(%s): no error", name)
		}
	}
	for _, kind := range []string{pkcs1Block, pkcs8Block, "EC PRIVATE KEY"} {
		_, err := ParsePrivateKey(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte("canary")}))
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("ParsePrivateKey of a malformed %s: got %v", kind, err)
		}
	}
}

// A retired key is never the newest, and opens only to re-seal.
func TestRetired(t *testing.T) {
	var ring Keyring
	pair := newKeys(t, 2)
	old, newest := keyOf(t, pair[0], time.Unix(1, 0)), keyOf(t, pair[1], time.Unix(2, 0))
	at := Binding{Namespace: "ns", Name: "name"}
	sealed, err := Seal(&newest.Private.PublicKey, []byte("value"), at.Label())
	if err != nil {
		t.Fatal(err)
	}
	newest.Retired = true
	ring.Set(newest, old)
	if k, ok := ring.Newest(); !ok || k.Fingerprint != old.Fingerprint {
		t.Errorf("the newest is %s, want the one that is not retired", k.Fingerprint)
	}
	if _, err := ring.Open(sealed, at, ""); !errors.Is(err, ErrRetired) {
		t.Errorf("Open: got %v, want ErrRetired", err)
	}
	if opened, err := ring.OpenToReseal(sealed, at, ""); err != nil || string(opened.Value) != "value" || !ring.Retired(opened.Fingerprint) {
		t.Errorf("OpenToReseal: %v", err)
	}
	changed := ring.Changed()
	newest.Retired = false
	ring.Set(newest, old)
	select {
	case <-changed:
	default:
		t.Error("taking a key back tells nobody")
	}
}
