package sealer

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/sealer/testkit"
)

// classes maps the expect line of a vector to the error that Open must wrap.
var classes = map[string]error{
	testkit.ExpectOK:     nil,
	testkit.ExpectFormat: ErrFormat,
	testkit.ExpectNoKey:  ErrNoKey,
	testkit.ExpectTamper: ErrTamper,
}

// loadVectors reads them once: some are made by recipe, and take a while.
var loadVectors = sync.OnceValues(testkit.Vectors)

func vectors(t testing.TB) []testkit.Vector {
	t.Helper()
	all, err := loadVectors()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func vectorKey(t testing.TB, v testkit.Vector) *rsa.PrivateKey {
	t.Helper()
	key, err := x509.ParsePKCS1PrivateKey(v.Key)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func vectorBinding(t testing.TB, v testkit.Vector) Binding {
	t.Helper()
	scope, err := ParseScope(v.Scope)
	if err != nil {
		t.Fatal(err)
	}
	return Binding{Namespace: v.Namespace, Name: v.SecretName, Scope: scope}
}

// ringOf returns a Keyring whose keys are valid from one second after the
// other, the last the newest.
func ringOf(t testing.TB, keys ...*rsa.PrivateKey) *Keyring {
	t.Helper()
	var all []Key
	for i, private := range keys {
		all = append(all, keyOf(t, private, time.Unix(int64(i), 0)))
	}
	ring := &Keyring{}
	ring.Set(all...)
	return ring
}

func keyOf(t testing.TB, private *rsa.PrivateKey, from time.Time) Key {
	t.Helper()
	cert := &x509.Certificate{PublicKey: &private.PublicKey, NotBefore: from}
	key, err := NewKey(private, cert)
	if err != nil {
		t.Fatal(err)
	}
	key.Certificate.Raw = []byte(key.Fingerprint) // what Equal compares
	return key
}

func TestVectors(t *testing.T) {
	seen := map[string]int{}
	for _, v := range vectors(t) {
		seen[v.Expect]++
		t.Run(v.Name, func(t *testing.T) {
			want := classes[v.Expect]
			got, err := ringOf(t, vectorKey(t, v)).Open(v.Sealed, vectorBinding(t, v), "")
			if !errors.Is(err, want) {
				t.Fatalf("%s\nOpen: got error %v, want %v", v.About, err, want)
			}
			if !bytes.Equal(got.Value, v.Plaintext) {
				t.Errorf("%s\nOpen: got %q, want %q", v.About, got.Value, v.Plaintext)
			}
		})
	}
	for class := range classes {
		if seen[class] == 0 {
			t.Errorf("no vector of class %q", class)
		}
	}
}

func TestSealOpens(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, MinKeySize)
	if err != nil {
		t.Fatal(err)
	}
	ring := ringOf(t, key)
	for _, size := range []int{0, 1, 31, 32, 33, 4096, MaxValue} {
		for _, scope := range []Scope{Strict, NamespaceWide, ClusterWide} {
			at := Binding{Namespace: "prod", Name: "db", Scope: scope}
			value := bytes.Repeat([]byte{'x'}, size)
			sealed, err := Seal(&key.PublicKey, value, at.Label())
			if err != nil {
				t.Fatal(err)
			}
			got, err := ring.Open(sealed, at, "")
			if err != nil || !bytes.Equal(got.Value, value) {
				t.Errorf("Open(Seal(%d bytes), %v): got %d bytes, error %v", size, at, len(got.Value), err)
			}
		}
	}
}

// A value that is sealed for one place opens in no other.
func TestScopes(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, MinKeySize)
	if err != nil {
		t.Fatal(err)
	}
	ring := ringOf(t, key)
	places := []Binding{
		{"prod", "db", Strict}, {"prod", "web", Strict}, {"dev", "db", Strict},
		{"prod", "", NamespaceWide}, {"dev", "", NamespaceWide}, {"", "", ClusterWide},
	}
	for _, from := range places {
		sealed, err := Seal(&key.PublicKey, []byte("v"), from.Label())
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range places {
			_, err := ring.Open(sealed, to, "")
			if from == to && err != nil {
				t.Errorf("sealed for %v: got %v there", from, err)
			}
			if from != to && !errors.Is(err, ErrNoKey) {
				t.Errorf("sealed for %v, opened for %v: got %v, want %v", from, to, err, ErrNoKey)
			}
		}
	}
}

func TestSealRefuses(t *testing.T) {
	key := vectorKey(t, vectors(t)[0])
	if _, err := Seal(&key.PublicKey, make([]byte, MaxValue+1), nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Seal of %d bytes: got %v, want %v", MaxValue+1, err, ErrTooLarge)
	}
	if _, err := parse(make([]byte, maxSealed+1)); !errors.Is(err, ErrFormat) {
		t.Errorf("parse of %d bytes: got %v, want %v", maxSealed+1, err, ErrFormat)
	}
}

// FuzzCanonical checks that a sealed value has one spelling only: whatever
// parses prints back byte for byte, and whatever does not is an ErrFormat.
func FuzzCanonical(f *testing.F) {
	for _, v := range vectors(f) {
		if len(v.Sealed) < 1<<16 { // larger seeds are slow, and no different
			f.Add(v.Sealed)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		e, err := parse(in)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("parse(%q): %v is not ErrFormat", in, err)
			}
			return
		}
		if out := e.print(); !bytes.Equal(out, in) {
			t.Errorf("parse then print: got %q, want %q", out, in)
		}
	})
}

// FuzzForge checks that nothing opens but what was sealed, and that where it
// was sealed for.
func FuzzForge(f *testing.F) {
	all := vectors(f)
	type fact struct {
		sealed string
		at     string
	}
	opens := map[fact]string{}
	for _, v := range all {
		if len(v.Sealed) < 1<<16 {
			f.Add(v.Sealed, v.Namespace, v.SecretName, int(vectorBinding(f, v).Scope))
		}
		if v.Expect == testkit.ExpectOK {
			opens[fact{string(v.Sealed), string(vectorBinding(f, v).Label())}] = string(v.Plaintext)
		}
	}
	ring := ringOf(f, vectorKey(f, all[len(all)-1]))
	f.Fuzz(func(t *testing.T, sealed []byte, namespace, name string, scope int) {
		at := Binding{Namespace: namespace, Name: name, Scope: Scope(scope)}
		got, err := ring.Open(sealed, at, "")
		if err != nil {
			if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrNoKey) && !errors.Is(err, ErrTamper) {
				t.Errorf("Open(%q): %v is of no class", sealed, err)
			}
			return
		}
		want, ok := opens[fact{string(sealed), string(at.Label())}]
		if !ok || want != string(got.Value) {
			t.Errorf("Open(%q, %v): opened, and nobody sealed it", sealed, at)
		}
	})
}

// FuzzSealOpens checks that what is sealed opens, as what it was.
func FuzzSealOpens(f *testing.F) {
	key := vectorKey(f, vectors(f)[0])
	ring := ringOf(f, key)
	f.Add([]byte("hunter2"), "prod", "db", 0)
	f.Add([]byte{}, "", "", 2)
	f.Fuzz(func(t *testing.T, value []byte, namespace, name string, scope int) {
		at := Binding{Namespace: namespace, Name: name, Scope: Scope(scope)}
		sealed, err := Seal(&key.PublicKey, value, at.Label())
		if errors.Is(err, ErrTooLarge) && len(value) > MaxValue {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := ring.Open(sealed, at, "")
		if err != nil || !bytes.Equal(got.Value, value) {
			t.Errorf("Open(Seal(%q), %v): got %q, %v", value, at, got.Value, err)
		}
	})
}

func TestParseScope(t *testing.T) {
	for _, s := range []Scope{Strict, NamespaceWide, ClusterWide} {
		if got, err := ParseScope(s.String()); err != nil || got != s {
			t.Errorf("ParseScope(%q): got %v, %v", s.String(), got, err)
		}
	}
	if _, err := ParseScope("galaxy-wide"); err == nil || !strings.Contains(err.Error(), "galaxy-wide") {
		t.Errorf("ParseScope of an unknown scope: got %v, want an error that names it", err)
	}
}
