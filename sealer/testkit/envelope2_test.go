package testkit_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/mlkem"
	"crypto/sha256"
	"crypto/sha3"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-dev/lockstep/sealer/testkit"
)

// TestIndependently reads every vector of envelope 2 with docs/envelope-2.md
// and nothing else: no package of ours, and not even the HPKE of the standard
// library, but its parts.
func TestIndependently(t *testing.T) {
	all, err := testkit.Vectors2()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 200 {
		t.Fatalf("there are %d vectors, want 200 at least", len(all))
	}
	seen := map[string]int{}
	for _, v := range all {
		seen[v.Expect]++
		value, class := read(v)
		if class != v.Expect {
			t.Errorf("%s: %s: got %q, want %q", v.Name, v.About, class, v.Expect)
		}
		if !bytes.Equal(value, v.Plaintext) {
			t.Errorf("%s: %s: got %q, want %q", v.Name, v.About, value, v.Plaintext)
		}
	}
	for _, class := range testkit.Expects2() {
		if seen[class] == 0 {
			t.Errorf("no vector of class %q", class)
		}
	}
	t.Logf("%d vectors: %v", len(all), seen)
}

const domain = "lockstep.dev/seal/2 "

// read opens a vector: sections 2 to 6 of the specification, in their order.
func read(v testkit.Vector2) (value []byte, class string) {
	encoded, ok := strings.CutPrefix(v.Sealed, "ls2.")
	blob, err := base64.RawURLEncoding.DecodeString(encoded)
	if !ok || err != nil || base64.RawURLEncoding.EncodeToString(blob) != encoded || !wellFormed(blob) {
		return nil, "format"
	}
	scope := slices.Index([]string{"strict", "namespace-wide", "cluster-wide"}, v.Scope)
	namespace, name := v.Namespace, v.Secret
	if scope == 2 {
		namespace = ""
	}
	if scope != 0 {
		name = ""
	}
	switch {
	case int(blob[2]) != scope:
		return nil, "scope"
	case scope != 2 && !tagged(blob[3:11], "namespace", namespace):
		return nil, "namespace"
	case scope == 0 && !tagged(blob[11:19], "name", name):
		return nil, "name"
	case !tagged(blob[19:27], "item", v.Item):
		return nil, "item"
	}
	context := append([]byte(domain+"context\x00"), byte(scope))
	for _, n := range []string{namespace, name, v.Item} {
		context = binary.BigEndian.AppendUint32(context, uint32(len(n)))
		context = append(context, n...)
	}
	return open(v, blob, context)
}

func tagged(tag []byte, kind, name string) bool {
	sum := sha256.Sum256([]byte(domain + kind + "\x00" + name))
	return bytes.Equal(tag, sum[:8])
}

// wellFormed is section 3.
func wellFormed(b []byte) bool {
	if len(b) < 60 || b[0] != 2 || b[1] != 1 || b[2] > 2 || b[59] == 0 || b[59] > 16 {
		return false
	}
	n := int(b[59])
	if b[2] == 2 && !zero(b[3:11]) || b[2] != 0 && !zero(b[11:19]) || len(b) < 60+1200*n+64+16 {
		return false
	}
	for i := 1; i < n; i++ {
		if at := 60 + 1200*i; bytes.Compare(b[at-1200:at-1184], b[at:at+16]) >= 0 {
			return false
		}
	}
	plain := len(b) - 60 - 1200*n - 16
	return padme(plain) == plain && len(b) <= 60+1200*16+padme(4+1<<20)+16
}

func zero(b []byte) bool { return bytes.Equal(b, make([]byte, len(b))) }

// padme is section 6, written as its formula and not as code does it.
func padme(n int) int {
	if n <= 64 {
		return 64
	}
	e := 0
	for 1<<(e+1) <= n {
		e++
	}
	s := 0
	for 1<<s <= e {
		s++
	}
	step := 1 << (e - s)
	return (n + step - 1) / step * step
}

// open is sections 4 and 5.
func open(v testkit.Vector2, blob, context []byte) ([]byte, string) {
	n := int(blob[59])
	ours := false
	for i := range n {
		stanza := blob[60+1200*i : 60+1200*(i+1)]
		for _, key := range v.Keys {
			ours = ours || bytes.Equal(stanza[16:32], key.Cluster)
			k := newKey(key.Seed)
			if !bytes.Equal(stanza[:16], k.id) {
				continue
			}
			info := slices.Concat([]byte(domain+"recipient\x00"), []byte{1}, stanza[:32], context)
			session, ok := k.hpke(stanza[32:1152], info, blob[:59], stanza[1152:])
			if !ok {
				return nil, "tamper"
			}
			return body(blob, blob[60+1200*n:], session, context)
		}
	}
	if ours {
		return nil, "unknown key"
	}
	return nil, "cluster"
}

func body(blob, sealed, session, context []byte) ([]byte, string) {
	commit, err := hkdf.Key(sha256.New, session, context, domain+"commit", 32)
	if err != nil || !bytes.Equal(commit, blob[27:59]) {
		return nil, "tamper"
	}
	key, err := hkdf.Key(sha256.New, session, context, domain+"body", 32)
	if err != nil {
		return nil, "tamper"
	}
	plain, ok := gcm(key, make([]byte, 12), sealed, blob[:len(blob)-len(sealed)])
	if !ok {
		return nil, "tamper"
	}
	length := int(binary.BigEndian.Uint32(plain))
	if length > 1<<20 || padme(4+length) != len(plain) || !zero(plain[4+length:]) {
		return nil, "tamper"
	}
	return plain[4 : 4+length], "ok"
}

func gcm(key, nonce, sealed, aad []byte) ([]byte, bool) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, false
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, false
	}
	plain, err := aead.Open(nil, nonce, sealed, aad)
	return plain, err == nil
}

// key is MLKEM768-X25519, by draft-ietf-hpke-pq.
type key struct {
	pq *mlkem.DecapsulationKey768
	t  *ecdh.PrivateKey
	id []byte
}

func newKey(seed []byte) key {
	expanded := sha3.SumSHAKE256(seed, 96)
	pq, err := mlkem.NewDecapsulationKey768(expanded[:64])
	if err != nil {
		panic(err) // the keys are part of the test
	}
	t, err := ecdh.X25519().NewPrivateKey(expanded[64:])
	if err != nil {
		panic(err)
	}
	public := slices.Concat(pq.EncapsulationKey().Bytes(), t.PublicKey().Bytes())
	sum := sha256.Sum256(slices.Concat([]byte(domain+"key id\x00"), []byte{1}, public))
	return key{pq, t, sum[:16]}
}

// hpke is base mode of RFC 9180 with KEM 0x647a, KDF 0x0001 and AEAD 0x0002.
func (k key) hpke(enc, info, aad, sealed []byte) ([]byte, bool) {
	ssPQ, err := k.pq.Decapsulate(enc[:1088])
	if err != nil {
		return nil, false
	}
	share, err := ecdh.X25519().NewPublicKey(enc[1088:])
	if err != nil {
		return nil, false
	}
	ssT, err := k.t.ECDH(share)
	if err != nil {
		return nil, false
	}
	secret := sha3.Sum256(slices.Concat(ssPQ, ssT, enc[1088:], k.t.PublicKey().Bytes(), []byte(`\.//^\`)))
	suite := []byte("HPKE\x64\x7a\x00\x01\x00\x02")
	extract := func(salt []byte, label string, ikm []byte) []byte {
		out, err := hkdf.Extract(sha256.New, slices.Concat([]byte("HPKE-v1"), suite, []byte(label), ikm), salt)
		if err != nil {
			panic(err) // impossible with SHA-256
		}
		return out
	}
	context := slices.Concat([]byte{0}, extract(nil, "psk_id_hash", nil), extract(nil, "info_hash", info))
	prk := extract(secret[:], "secret", nil)
	expand := func(label string, n int) []byte {
		labelled := slices.Concat([]byte{0, byte(n)}, []byte("HPKE-v1"), suite, []byte(label), context)
		out, err := hkdf.Expand(sha256.New, prk, string(labelled), n)
		if err != nil {
			panic(err) // impossible for so few bytes
		}
		return out
	}
	return gcm(expand("key", 32), expand("base_nonce", 12), sealed, aad)
}
