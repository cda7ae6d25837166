package testkit_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/lockstep-dev/lockstep/sealer/testkit"
)

// The vectors of envelope 1 are what they promise to be: each size of key, scope
// and kind of value by the genuine kubeseal, and each border of each size.
func TestShape1(t *testing.T) {
	all, err := testkit.Vectors()
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]testkit.Vector{}
	for _, v := range all {
		by[v.Name] = v
	}
	lengths := map[string]func(n int) bool{
		"empty": func(n int) bool { return n == 0 }, "text": func(n int) bool { return n > 0 && n < 100 },
		"binary": func(n int) bool { return n > 0 }, "1mib": func(n int) bool { return n == 1<<20 },
	}
	borders := map[string]int{}
	for _, bits := range []int{2048, 3072, 4096} {
		for _, scope := range []string{"strict", "namespace-wide", "cluster-wide"} {
			for kind, fits := range lengths {
				name := fmt.Sprintf("matrix-%d-%s-%s", bits, scope, kind)
				v := by[name]
				if v.Expect != testkit.ExpectOK || v.Scope != scope || !fits(len(v.Plaintext)) || len(v.Sealed) != 2+bits/8+len(v.Plaintext)+16 {
					t.Errorf("%s: %q, scope %q, %d bytes sealed as %d", name, v.Expect, v.Scope, len(v.Plaintext), len(v.Sealed))
				}
			}
		}
		for name, v := range by {
			for _, kind := range []string{"label", "cut", "flip", "length", "crypto"} {
				if strings.HasPrefix(name, fmt.Sprintf("%s-%d-", kind, bits)) {
					borders[fmt.Sprintf("%s-%d %s", kind, bits, v.Expect)]++
				}
			}
		}
		for kind, want := range map[string]int{"label no key": 17, "label ok": 13, "cut format": 9, "cut tamper": 4, "flip tamper": 5, "crypto format": 2, "crypto no key": 2, "crypto tamper": 5} {
			name, class, _ := strings.Cut(kind, " ")
			if got := borders[fmt.Sprintf("%s-%d %s", name, bits, class)]; got != want {
				t.Errorf("%s-%d: %d are %q, want %d", name, bits, got, class, want)
			}
		}
		if got := borders[fmt.Sprintf("length-%d format", bits)] + borders[fmt.Sprintf("length-%d no key", bits)]; got != 6 {
			t.Errorf("length-%d: %d, want 6", bits, got)
		}
	}
	t.Logf("%d vectors, %d of them refused", len(all), len(all)-count(all, testkit.ExpectOK))
}

func count(all []testkit.Vector, class string) int {
	n := 0
	for _, v := range all {
		if v.Expect == class {
			n++
		}
	}
	return n
}
