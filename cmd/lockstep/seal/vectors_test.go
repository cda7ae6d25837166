package seal

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"testing"
	"time"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/cmd/internal/manifest"
	"github.com/lockstep-dev/lockstep/sealer"
	"github.com/lockstep-dev/lockstep/sealer/testkit"
)

// scenario is a vector of either envelope.
type scenario struct {
	name, text string
	at         sealer.Place
	value      []byte
	good       bool
}

// opens has open read one vector, and checks what it prints.
func (s scenario) opens(t *testing.T, keys ...sealer.Key) {
	t.Helper()
	ring := &sealer.Keyring{}
	ring.Set(keys...)
	ss := &bitnamiv1alpha1.SealedSecret{}
	ss.Namespace, ss.Name, ss.Annotations = s.at.Namespace, s.at.Name, manifest.WithScope(nil, s.at.Scope)
	ss.Spec.EncryptedData = bitnamiv1alpha1.EncryptedData{s.at.Item: s.text}
	for _, item := range []string{s.at.Item, ""} {
		var out bytes.Buffer
		err := (&opening{item: item, format: "yaml"}).one(t.Context(), &out, ring, ss)
		if s.good != (err == nil) || !s.good && out.Len() > 0 || s.good && item != "" && !bytes.Equal(out.Bytes(), s.value) {
			t.Errorf("%s, item %q: got %v and %d bytes", s.name, item, err, out.Len())
		}
	}
}

// Of every vector of envelope 1, open prints what was sealed, or nothing.
func TestVectors1(t *testing.T) {
	all, err := testkit.Vectors()
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, v := range all {
		private, err := x509.ParsePKCS1PrivateKey(v.Key)
		if err != nil {
			t.Fatal(err)
		}
		scope, err := sealer.ParseScope(v.Scope)
		if err != nil {
			t.Fatal(err)
		}
		key := sealer.Key{Private: private, Fingerprint: "f", Since: time.Unix(1, 0)}
		at := sealer.Place{Binding: sealer.Binding{Namespace: v.Namespace, Name: v.SecretName, Scope: scope}, Item: "a"}
		scenario{v.Name, base64.StdEncoding.EncodeToString(v.Sealed), at, v.Plaintext, v.Expect == testkit.ExpectOK}.opens(t, key)
		if v.Expect != testkit.ExpectOK {
			refused++
		}
	}
	t.Logf("%d vectors, %d refused", len(all), refused)
}

// Of every vector of envelope 2, open prints what was sealed, or nothing.
func TestVectors2(t *testing.T) {
	all, err := testkit.Vectors2()
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, v := range all {
		scope, err := sealer.ParseScope(v.Scope)
		if err != nil {
			t.Fatal(err)
		}
		var keys []sealer.Key
		for _, k := range v.Keys {
			key, _, err := sealer.ParseHybridKey(k.PEM)
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, sealer.HybridOnly(key))
		}
		at := sealer.Place{Binding: sealer.Binding{Namespace: v.Namespace, Name: v.Secret, Scope: scope}, Item: v.Item}
		scenario{v.Name, v.Sealed, at, v.Plaintext, v.Expect == testkit.ExpectOK}.opens(t, keys...)
		if v.Expect != testkit.ExpectOK {
			refused++
		}
	}
	t.Logf("%d vectors, %d refused", len(all), refused)
}
