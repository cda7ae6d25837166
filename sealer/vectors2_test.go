package sealer

import (
	"bytes"
	"errors"
	"testing"

	"github.com/lockstep-dev/lockstep/sealer/testkit"
)

// classes2 maps the expect line of a vector to the error that OpenItem must
// wrap.
var classes2 = map[string]error{
	"ok": nil, "format": ErrFormat, "scope": ErrScope, "namespace": ErrNamespace, "name": ErrName, "item": ErrItem,
	"cluster": ErrCluster, "unknown key": ErrUnknownKey, "tamper": ErrTamper,
}

func TestVectors2(t *testing.T) {
	all, err := testkit.Vectors2()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, v := range all {
		want, ok := classes2[v.Expect]
		if !ok {
			t.Fatalf("%s: unknown class %q", v.Name, v.Expect)
		}
		seen[v.Expect] = true
		var keys []*HybridKey
		for _, k := range v.Keys {
			key, _, err := ParseHybridKey(k.PEM)
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, key)
		}
		scope, err := ParseScope(v.Scope)
		if err != nil {
			t.Fatal(err)
		}
		at := Place{Binding{Namespace: v.Namespace, Name: v.Secret, Scope: scope}, v.Item}
		var got Opened
		if IsEnvelope2(v.Sealed) {
			got, err = ringOf2(t, keys...).OpenItem(v.Sealed, at, "")
		} else {
			_, err = ParseSealed(v.Sealed) // OpenItem takes it for envelope 1
		}
		if !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: %s: got error %v, want %v", v.Name, v.About, err, want)
		}
		if !bytes.Equal(got.Value, v.Plaintext) {
			t.Errorf("%s: %s: got %q, want %q", v.Name, v.About, got.Value, v.Plaintext)
		}
	}
	for class := range classes2 {
		if !seen[class] {
			t.Errorf("no vector of class %q", class)
		}
	}
}

// FuzzForge2 checks that no text of envelope 2 opens but what was sealed, and
// that where it was sealed for.
func FuzzForge2(f *testing.F) {
	all, err := testkit.Vectors2()
	if err != nil {
		f.Fatal(err)
	}
	type fact struct{ sealed, namespace, name, item, scope string }
	opens := map[fact]string{}
	elsewhere := map[string]bool{} // what opens in a place that its vector does not name
	var keys []*HybridKey
	for _, v := range all {
		scope, err := ParseScope(v.Scope)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(v.Sealed, v.Namespace, v.Secret, v.Item, int(scope))
		if v.Expect == testkit.ExpectOK {
			at := Place{Binding{v.Namespace, v.Secret, scope}, v.Item}.narrowed()
			opens[fact{v.Sealed, at.Namespace, at.Name, at.Item, v.Scope}] = string(v.Plaintext)
		}
		if errors.Is(classes2[v.Expect], ErrPlace) {
			elsewhere[v.Sealed] = true
		}
		if len(keys) == 0 {
			for _, k := range v.Keys {
				key, _, err := ParseHybridKey(k.PEM)
				if err != nil {
					f.Fatal(err)
				}
				keys = append(keys, key)
			}
		}
	}
	ring := ringOf2(f, keys...)
	f.Fuzz(func(t *testing.T, sealed, namespace, name, item string, scope int) {
		at := Place{Binding{namespace, name, Scope(scope)}, item}
		got, err := ring.OpenItem(sealed, at, "")
		if err != nil {
			for _, class := range []error{ErrFormat, ErrNoKey, ErrTamper, ErrPlace, ErrCluster, ErrUnknownKey} {
				if errors.Is(err, class) {
					return
				}
			}
			t.Fatalf("OpenItem(%q): %v is of no class", sealed, err)
		}
		at = at.narrowed()
		want, ok := opens[fact{sealed, at.Namespace, at.Name, at.Item, at.Scope.String()}]
		if !ok && !elsewhere[sealed] || ok && want != string(got.Value) {
			t.Errorf("OpenItem(%q, %v): opened, and nobody sealed it", sealed, at)
		}
	})
}
