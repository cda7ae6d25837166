package sealer

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/test/seeds"
)

// published is a ring of n keys of one cluster, and what it publishes.
func published(t testing.TB, cluster ClusterID, n int) (*Keyring, *Bundle) {
	t.Helper()
	var all []Key
	for i := range n {
		private, cert, err := NewCertificate(MinKeySize, time.Hour, "")
		if err != nil {
			t.Fatal(err)
		}
		k, err := NewKey(private, cert)
		if err != nil {
			t.Fatal(err)
		}
		k.Hybrid, k.Since = newHybrid(t, cluster), time.Unix(int64(1000*(i+1)), 0)
		all = append(all, k)
	}
	ring := &Keyring{}
	ring.Set(all...)
	return ring, bundleOf(t, ring)
}

func bundleOf(t testing.TB, ring *Keyring) *Bundle {
	t.Helper()
	text, err := ring.Publish()
	if err != nil {
		t.Fatal(err)
	}
	b, err := ParseBundle(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBundle(t *testing.T) {
	cluster := NewClusterID()
	ring, b := published(t, cluster, 2)
	newest, _ := ring.Newest()
	if b.Cluster() != cluster || b.Newest().ID != newest.Hybrid.ID || len(b.Keys()) != 2 || len(b.IDs()) != 2 {
		t.Errorf("the bundle is of cluster %v with keys %v", b.Cluster(), b.IDs())
	}
	if cert, key := b.Certificate(); !cert.Equal(newest.Certificate) || !newest.Private.PublicKey.Equal(key) {
		t.Error("the certificate is not that of the newest key")
	}
	text, err := SealItem([]byte("v"), prod, b.Newest())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ring.OpenItem(text, prod, ""); err != nil {
		t.Errorf("sealed with what was published: %v", err)
	}
	// Indented, as a tool or a person may keep it.
	raw, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseBundle(raw); err != nil {
		t.Errorf("indented: %v", err)
	}
}

// What is published, read with section 7 of docs/envelope-2.md and nothing of
// this package: every key of the list signed the statement.
func TestBundleIndependently(t *testing.T) {
	ring, _ := published(t, NewClusterID(), 2)
	text, err := ring.Publish()
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Statement  json.RawMessage `json:"statement"`
		Signatures []struct {
			ID        string `json:"id"`
			Signature []byte `json:"signature"`
		} `json:"signatures"`
	}
	if err := json.Unmarshal(text, &doc); err != nil || len(doc.Signatures) != 2 {
		t.Fatalf("%v, %d signatures", err, len(doc.Signatures))
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, doc.Statement); err != nil {
		t.Fatal(err)
	}
	for i, k := range ring.Keys() {
		seed, err := hkdf.Key(sha256.New, k.Hybrid.seed, nil, "lockstep.dev/seal/2 sign", 32)
		if err != nil {
			t.Fatal(err)
		}
		public := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
		message := append([]byte("lockstep.dev/seal/2 bundle\x00"), compact.Bytes()...)
		if doc.Signatures[i].ID != k.Hybrid.ID.String() || !ed25519.Verify(public, message, doc.Signatures[i].Signature) {
			t.Errorf("key %v did not sign the statement", k.Hybrid.ID)
		}
	}
}

// A key that is trusted hands over to the next; nobody else does.
func TestPins(t *testing.T) {
	cluster := NewClusterID()
	ring, both := published(t, cluster, 2)
	keys := ring.Keys()
	newest, oldest := keys[0], keys[1]
	only := func(keys ...Key) *Bundle {
		r := &Keyring{}
		r.Set(keys...)
		return bundleOf(t, r)
	}
	retired := newest
	retired.Retired = true
	_, stranger := published(t, cluster, 1)
	_, other := published(t, NewClusterID(), 1)
	cases := map[string]struct {
		pin  Pin
		now  *Bundle
		want error
	}{
		"Same":      {both.Pin(), both, nil},
		"Renewed":   {only(oldest).Pin(), both, nil},
		"OldGone":   {both.Pin(), only(newest), nil},
		"NotSigned": {only(oldest).Pin(), only(newest), ErrUntrusted},
		"Stranger":  {both.Pin(), stranger, ErrUntrusted},
		"Cluster":   {both.Pin(), other, ErrUntrusted},
		"Older":     {both.Pin(), only(oldest), ErrUntrusted},
		"Retired":   {both.Pin(), only(retired, oldest), ErrUntrusted},
		"NoPin":     {Pin{Cluster: cluster.String()}, both, ErrUntrusted},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if err := tc.pin.Trusts(tc.now); !errors.Is(err, tc.want) {
				t.Errorf("Trusts: got %v, want %v", err, tc.want)
			}
		})
	}
	back := both.Pin()
	back.Since = back.Since.Add(time.Hour)
	if err := back.Trusts(both); !errors.Is(err, ErrRollback) {
		t.Errorf("a key that is older than what was seen: got %v, want %v", err, ErrRollback)
	}
}

func TestPublishLeavesOut(t *testing.T) {
	ring, _ := published(t, NewClusterID(), 2)
	keys := ring.Keys()
	keys[1].Hybrid = newHybrid(t, NewClusterID())
	ring.Set(keys...)
	if b := bundleOf(t, ring); len(b.Keys()) != 1 {
		t.Errorf("with a key of another cluster: %d keys", len(b.Keys()))
	}
	keys[0].Hybrid = nil
	ring.Set(keys...)
	if _, err := ring.Publish(); !errors.Is(err, ErrNoKey) {
		t.Errorf("with a newest key that has no envelope 2: got %v, want %v", err, ErrNoKey)
	}
}

// Every change of a bundle that means something is refused.
func TestBundleRefuses(t *testing.T) {
	ring, _ := published(t, NewClusterID(), 1)
	text, err := ring.Publish()
	if err != nil {
		t.Fatal(err)
	}
	key, _ := ring.Newest()
	cases := map[string][2]string{
		"Cluster": {key.Hybrid.Cluster.String(), NewClusterID().String()},
		"ID":      {`"id":"` + key.Hybrid.ID.String(), `"id":"` + KeyID{}.String()},
		"Public":  {"ls2pub.", "ls2pub.A"},
		"Version": {`"version":2`, `"version":3`},
		"Cert":    {"BEGIN CERTIFICATE", "BEGIN NONE"},
		"Field":   {`"version"`, `"more":1,"version"`},
		"Keys":    {`"keys":[{`, `"keys":[],"none":[{`},
		"Text":    {"{", "["},
		"Name":    {`"statement"`, `"no"`},
	}
	for name, tc := range cases {
		changed := bytes.ReplaceAll(text, []byte(tc[0]), []byte(tc[1]))
		if bytes.Equal(changed, text) {
			t.Fatalf("%s: nothing changed", name)
		}
		if _, err := ParseBundle(changed); !errors.Is(err, ErrBundle) {
			t.Errorf("%s: got %v, want %v", name, err, ErrBundle)
		}
	}
	if _, err := ParseBundle(make([]byte, MaxBundle+1)); !errors.Is(err, ErrBundle) {
		t.Errorf("too large: got %v", err)
	}
}

// FuzzBundle checks that nothing but a signed bundle is one, and that reading
// one does not fail in another way than with ErrBundle.
func FuzzBundle(f *testing.F) {
	ring, _ := published(f, NewClusterID(), 2)
	text, err := ring.Publish()
	if err != nil {
		f.Fatal(err)
	}
	seeds.Add(f, text, []byte(`{"statement":{},"signatures":[]}`), []byte(`{"statement":{"version":2,"keys":[{}]}}`), text[:len(text)/2], []byte("null"), []byte("[]"))
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := ParseBundle(in)
		if err != nil && !errors.Is(err, ErrBundle) {
			t.Fatalf("ParseBundle(%q): %v is not ErrBundle", in, err)
		}
		if err == nil && b.Newest().ID.String() != b.Keys()[0].ID {
			t.Errorf("ParseBundle(%q): its newest key is not its first", in)
		}
	})
}

func TestHybridKeyText(t *testing.T) {
	key := newHybrid(t, NewClusterID())
	again, ok, err := ParseHybridKey(append([]byte("text before\n"), key.Encode()...))
	if err != nil || !ok || again.ID != key.ID || again.Cluster != key.Cluster || !again.Signer.Equal(key.Signer) {
		t.Errorf("ParseHybridKey(Encode): got %v, %v", ok, err)
	}
	public, err := ParseRecipient(key.String(), key.Cluster)
	if err != nil || public.ID != key.ID {
		t.Errorf("ParseRecipient(String): got %v, %v", public.ID, err)
	}
	if _, ok, err := ParseHybridKey([]byte("no key")); ok || err != nil {
		t.Errorf("ParseHybridKey of text: got %v, %v", ok, err)
	}
	for _, text := range []string{
		"-----BEGIN LOCKSTEP SEALING KEY-----\nAAAA\n-----END LOCKSTEP SEALING KEY-----\n",
		"-----BEGIN LOCKSTEP SEALING KEY-----\nCluster: 00000000000000000000000000000000\n\nAAAA\n-----END LOCKSTEP SEALING KEY-----\n",
	} {
		if _, ok, err := ParseHybridKey([]byte(text)); !ok || err == nil {
			t.Errorf("ParseHybridKey of a malformed key: got %v, %v", ok, err)
		}
	}
	for _, text := range []string{"", "ls2pub.", "ls2pub.AAAA", key.String() + "A", key.String() + "\n"} {
		if _, err := ParseRecipient(text, key.Cluster); err == nil {
			t.Errorf("ParseRecipient(%.20q): no error", text)
		}
	}
	for _, text := range []string{"", "00", "0000000000000000000000000000000G", "ABCDEF00000000000000000000000000"} {
		if _, err := ParseClusterID(text); err == nil {
			t.Errorf("ParseClusterID(%q): no error", text)
		}
		if _, err := ParseKeyID(text); err == nil {
			t.Errorf("ParseKeyID(%q): no error", text)
		}
	}
}
