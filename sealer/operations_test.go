package sealer

import (
	"crypto/rand"
	"crypto/rsa"
	"slices"
	"testing"
)

// One RSA operation opens one item, however many keys there are: of what the
// newest key sealed from the first, and of what an old one sealed from the
// second, when its fingerprint is known. Keys of another size cost nothing.
func TestOperations(t *testing.T) {
	const items = 5
	at := Binding{Namespace: "prod", Name: "db"}
	large, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 12, 36} {
		keys := newKeys(t, n)
		ring := ringOf(t, append(slices.Clip(keys), large)...)
		for name, by := range map[string]*rsa.PrivateKey{"Newest": keys[n-1], "Oldest": keys[0]} {
			before := ring.Operations()
			hint := ""
			for range items {
				sealed, err := Seal(&by.PublicKey, []byte("v"), at.Label())
				if err != nil {
					t.Fatal(err)
				}
				opened, err := ring.Open(sealed, at, hint)
				if err != nil {
					t.Fatal(err)
				}
				hint = opened.Fingerprint
			}
			want := uint64(items)
			if name == "Oldest" {
				want += uint64(n) - 1 // first sight
			}
			if got := ring.Operations() - before; got != want {
				t.Errorf("%d keys, sealed with the %s: %d RSA operations for %d items, want %d", n, name, got, items, want)
			}
		}
	}
}
