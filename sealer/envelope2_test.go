package sealer

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/sealer/testkit"
)

func newHybrid(t testing.TB, cluster ClusterID) *HybridKey {
	t.Helper()
	key, err := NewHybridKey(cluster)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// ringOf2 returns a Keyring of keys of envelope 2, the last the newest.
func ringOf2(t testing.TB, hybrids ...*HybridKey) *Keyring {
	t.Helper()
	private := vectorKey(t, vectors(t)[0])
	var all []Key
	for i, h := range hybrids {
		k := keyOf(t, private, time.Unix(int64(i), 0))
		k.Hybrid, k.Fingerprint = h, h.ID.String()
		all = append(all, k)
	}
	ring := &Keyring{}
	ring.Set(all...)
	return ring
}

var prod = Place{Binding{Namespace: "prod", Name: "db"}, "password"}

func TestSealItemOpens(t *testing.T) {
	cluster := NewClusterID()
	keys := []*HybridKey{newHybrid(t, cluster), newHybrid(t, cluster), newHybrid(t, NewClusterID())}
	ring := ringOf2(t, keys[0], keys[1])
	for _, size := range []int{0, 1, 60, 61, 1000, 65536, MaxValue} {
		for _, scope := range []Scope{Strict, NamespaceWide, ClusterWide} {
			at := prod
			at.Scope = scope
			value := bytes.Repeat([]byte{'x'}, size)
			text, err := SealItem(value, at, keys[0].Recipient, keys[2].Recipient)
			if err != nil {
				t.Fatal(err)
			}
			got, err := ring.OpenItem(text, at, "")
			if err != nil || !bytes.Equal(got.Value, value) || got.Fingerprint != keys[0].ID.String() {
				t.Errorf("%d bytes for %v: got %d bytes by key %s, error %v", size, at, len(got.Value), got.Fingerprint, err)
			}
		}
	}
}

// A value that is sealed for one place opens in no other, and the error says
// what is wrong, by what it is given and nothing else.
func TestOtherPlaces(t *testing.T) {
	key := newHybrid(t, NewClusterID())
	ring := ringOf2(t, key)
	text, err := SealItem([]byte("v"), prod, key.Recipient)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		at   Place
		want error
	}{
		"Here":      {prod, nil},
		"Namespace": {Place{Binding{"dev", "db", Strict}, "password"}, ErrNamespace},
		"Name":      {Place{Binding{"prod", "web", Strict}, "password"}, ErrName},
		"Item":      {Place{Binding{"prod", "db", Strict}, "user"}, ErrItem},
		"Wider":     {Place{Binding{"prod", "db", NamespaceWide}, "password"}, ErrScope},
		"Widest":    {Place{Binding{"prod", "db", ClusterWide}, "password"}, ErrScope},
		"NoScope":   {Place{Binding{"prod", "db", 7}, "password"}, ErrPlace},
		"NoItem":    {Place{Binding{"prod", "db", Strict}, ""}, ErrPlace},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := ring.OpenItem(text, tc.at, ""); !errors.Is(err, tc.want) {
				t.Errorf("OpenItem: got %v, want %v", err, tc.want)
			}
		})
	}
}

// Every item, Secret, namespace and scope against every other: what was sealed
// for one of them opens there only.
func TestSwaps(t *testing.T) {
	key := newHybrid(t, NewClusterID())
	ring := ringOf2(t, key)
	var places []Place
	for _, scope := range []Scope{Strict, NamespaceWide, ClusterWide} {
		for _, namespace := range []string{"a", "b"} {
			for _, name := range []string{"a", "b"} {
				for _, item := range []string{"a", "b"} {
					places = append(places, Place{Binding{namespace, name, scope}, item})
				}
			}
		}
	}
	opened := 0
	for _, from := range places {
		text, err := SealItem([]byte("v"), from, key.Recipient)
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range places {
			_, err := ring.OpenItem(text, to, "")
			if want := from.narrowed() == to.narrowed(); want != (err == nil) {
				t.Errorf("sealed for %v, opened for %v: %v", from, to, err)
			}
			if err == nil {
				opened++
			}
		}
	}
	if want := 8 + 4*4 + 2*16; opened != want {
		t.Errorf("%d of %d opened, want %d", opened, len(places)*len(places), want)
	}
}

func TestUnknownKeys(t *testing.T) {
	here, there := NewClusterID(), NewClusterID()
	key, gone, other := newHybrid(t, here), newHybrid(t, here), newHybrid(t, there)
	cases := map[string]struct {
		ring *Keyring
		to   []Recipient
		want error
	}{
		"Gone":    {ringOf2(t, key), []Recipient{gone.Recipient}, ErrUnknownKey},
		"Cluster": {ringOf2(t, key), []Recipient{other.Recipient}, ErrCluster},
		"Both":    {ringOf2(t, key), []Recipient{other.Recipient, gone.Recipient}, ErrUnknownKey},
		"NoKey":   {&Keyring{}, []Recipient{other.Recipient}, ErrNoKey},
		"Held":    {ringOf2(t, key), []Recipient{other.Recipient, key.Recipient, gone.Recipient}, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			text, err := SealItem([]byte("v"), prod, tc.to...)
			if err != nil {
				t.Fatal(err)
			}
			_, err = tc.ring.OpenItem(text, prod, "")
			if !errors.Is(err, tc.want) || tc.want != nil && !errors.Is(err, ErrNoKey) {
				t.Errorf("OpenItem: got %v, want %v", err, tc.want)
			}
		})
	}
}

// A retired key opens only to re-seal, and a newer one that fits goes first.
func TestRetired2(t *testing.T) {
	cluster := NewClusterID()
	retired, old := newHybrid(t, cluster), newHybrid(t, cluster)
	ring := ringOf2(t, old, retired)
	keys := ring.Keys()
	keys[0].Retired = true
	ring.Set(keys...)
	one, err := SealItem([]byte("v"), prod, retired.Recipient)
	if err != nil {
		t.Fatal(err)
	}
	both, err := SealItem([]byte("v"), prod, retired.Recipient, old.Recipient)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ring.OpenItem(one, prod, ""); !errors.Is(err, ErrRetired) {
		t.Errorf("a retired key: got %v, want %v", err, ErrRetired)
	}
	if _, err := ring.OpenItemToReseal(one, prod, ""); err != nil {
		t.Errorf("a retired key, to re-seal: got %v", err)
	}
	if got, err := ring.OpenItem(both, prod, ""); err != nil || got.Fingerprint != old.ID.String() {
		t.Errorf("a retired key and an old one: got key %s, error %v", got.Fingerprint, err)
	}
}

// Every truncation and every change of a single byte is refused: of the bytes,
// and of the text.
func TestEveryChangeIsRefused(t *testing.T) {
	cluster := NewClusterID()
	key := newHybrid(t, cluster)
	ring := ringOf2(t, key)
	text, err := SealItem([]byte("value"), prod, key.Recipient, newHybrid(t, NewClusterID()).Recipient)
	if err != nil {
		t.Fatal(err)
	}
	blob, err := decodeStrict(text[len(Prefix2):])
	if err != nil {
		t.Fatal(err)
	}
	tried, refused := 0, 0
	try := func(what, text string) {
		tried++
		if _, err := ring.OpenItem(text, prod, ""); err != nil {
			refused++
		} else {
			t.Errorf("%s: it opens", what)
		}
	}
	for i := range blob {
		try(fmt.Sprintf("cut to %d bytes", i), spell(blob[:i]))
		for _, flip := range []byte{0x01, 0x80, 0xff} {
			changed := bytes.Clone(blob)
			changed[i] ^= flip
			try(fmt.Sprintf("byte %d with %#x", i, flip), spell(changed))
		}
	}
	for i := range text {
		try(fmt.Sprintf("cut to %d characters", i), text[:i])
		for _, other := range []byte{'A', '_', '=', '\n'} {
			if changed := text[:i] + string(other) + text[i+1:]; changed != text {
				try(fmt.Sprintf("character %d as %q", i, other), changed)
			}
		}
	}
	try("a byte more", spell(append(bytes.Clone(blob), 0)))
	if want := len(blob)*4 + len(text)*4; tried < want || refused != tried {
		t.Errorf("%d of %d changes refused; at least %d must be tried", refused, tried, want)
	}
	t.Logf("%d of %d changes refused, of an envelope of %d bytes", refused, tried, len(blob))
}

// All 255 other values of each byte that costs no opening to refuse.
func TestEveryHeaderByte(t *testing.T) {
	key := newHybrid(t, NewClusterID())
	ring := ringOf2(t, key)
	text, err := SealItem([]byte("value"), prod, key.Recipient)
	if err != nil {
		t.Fatal(err)
	}
	blob, err := decodeStrict(text[len(Prefix2):])
	if err != nil {
		t.Fatal(err)
	}
	for i := range headSize + 1 + idSize {
		for flip := 1; flip < 256; flip++ {
			changed := bytes.Clone(blob)
			changed[i] ^= byte(flip)
			if _, err := ring.OpenItem(spell(changed), prod, ""); err == nil {
				t.Errorf("byte %d with %#x: it opens", i, flip)
			}
		}
	}
}

func spell(blob []byte) string { return Prefix2 + base64.RawURLEncoding.EncodeToString(blob) }

// The size tells only the bucket: everything up to 60 bytes looks alike.
func TestPadding(t *testing.T) {
	key := newHybrid(t, NewClusterID())
	sizes := map[int]bool{}
	for n := range 61 {
		text, err := SealItem(make([]byte, n), prod, key.Recipient)
		if err != nil {
			t.Fatal(err)
		}
		sizes[len(text)] = true
	}
	if len(sizes) != 1 {
		t.Errorf("values of 0 to 60 bytes have %d sizes when sealed", len(sizes))
	}
	for n := 1; n <= MaxValue; n += 997 {
		p := padded(n)
		if p < n || padded(p) != p || n > minPad && float64(p) > 1.12*float64(n) {
			t.Errorf("padded(%d) = %d", n, p)
		}
	}
	for _, plain := range [][]byte{
		append(pad([]byte("v"))[:minPad-1], 1), // not zero
		make([]byte, padded(100)),              // of a shorter value
		bytes.Repeat([]byte{0xff}, minPad),     // a length beyond the end
	} {
		if _, err := unpad(plain); err == nil {
			t.Errorf("unpad(%x): no error", plain)
		}
	}
}

func TestSealItemRefuses(t *testing.T) {
	r := newHybrid(t, NewClusterID()).Recipient
	many := make([]Recipient, 0, MaxRecipients+1)
	for range MaxRecipients + 1 {
		many = append(many, newHybrid(t, ClusterID{}).Recipient)
	}
	cases := map[string]struct {
		value []byte
		at    Place
		to    []Recipient
	}{
		"TooLarge":  {make([]byte, MaxValue+1), prod, []Recipient{r}},
		"Nobody":    {nil, prod, nil},
		"Many":      {nil, prod, many},
		"NoItem":    {nil, Place{prod.Binding, ""}, []Recipient{r}},
		"NoName":    {nil, Place{Binding{Namespace: "a"}, "i"}, []Recipient{r}},
		"Namespace": {nil, Place{Binding{Name: "a"}, "i"}, []Recipient{r}},
		"Scope":     {nil, Place{Binding{"a", "b", 9}, "i"}, []Recipient{r}},
		"Long":      {nil, Place{prod.Binding, string(make([]byte, maxName+1))}, []Recipient{r}},
	}
	for name, tc := range cases {
		if text, err := SealItem(tc.value, tc.at, tc.to...); err == nil {
			t.Errorf("%s: sealed as %.40s", name, text)
		}
	}
	if _, err := SealItem(nil, prod, many[:MaxRecipients]...); err != nil {
		t.Errorf("%d recipients: %v", MaxRecipients, err)
	}
}

// FuzzCanonical2 checks that envelope 2 has one spelling only: whatever parses
// prints back as it was, and whatever does not is an ErrFormat.
func FuzzCanonical2(f *testing.F) {
	key := newHybrid(f, NewClusterID())
	for _, at := range []Place{prod, {Binding{Namespace: "a", Scope: NamespaceWide}, "i"}, {Binding{Scope: ClusterWide}, "i"}} {
		text, err := SealItem([]byte("v"), at, key.Recipient, newHybrid(f, ClusterID{}).Recipient)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
		f.Add(text[:len(text)/2])
		f.Add(text + "\n")
	}
	all, err := testkit.Vectors2()
	if err != nil {
		f.Fatal(err) // no seeds is a failure, not an empty run
	}
	for _, v := range all {
		f.Add(v.Sealed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		e, err := parse2(in)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("parse2(%q): %v is not ErrFormat", in, err)
			}
			return
		}
		if out := e.print(); out != in {
			t.Errorf("parse2 then print: got %q, want %q", out, in)
		}
	})
}

// FuzzContext checks that no two places have the same context.
func FuzzContext(f *testing.F) {
	f.Add("a", "b", "c", "a", "b", "c", 0, 0)
	f.Add("a", "bc", "", "a", "b", "c", 0, 1)
	f.Fuzz(func(t *testing.T, ns, name, item, ns2, name2, item2 string, scope, scope2 int) {
		a, b := Place{Binding{ns, name, Scope(scope & 1)}, item}, Place{Binding{ns2, name2, Scope(scope2 & 1)}, item2}
		if same := a.narrowed() == b.narrowed(); same != bytes.Equal(a.context(), b.context()) {
			t.Errorf("%v and %v: same place %v, and their contexts %x and %x", a, b, same, a.context(), b.context())
		}
	})
}

func BenchmarkSealItem(b *testing.B) {
	key := newHybrid(b, ClusterID{})
	for b.Loop() {
		if _, err := SealItem([]byte("value"), prod, key.Recipient); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenItem(b *testing.B) {
	key := newHybrid(b, ClusterID{})
	ring := ringOf2(b, key)
	text, err := SealItem([]byte("value"), prod, key.Recipient)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := ring.OpenItem(text, prod, ""); err != nil {
			b.Fatal(err)
		}
	}
}
