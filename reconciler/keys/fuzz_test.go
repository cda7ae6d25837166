package keys

import (
	"testing"

	utiljson "k8s.io/apimachinery/pkg/util/json"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
)

// seeds are SealedSecrets as they come and as they should not.
var seeds = []string{
	`{"apiVersion":"bitnami.com/v1alpha1","kind":"SealedSecret","metadata":{"name":"db","namespace":"prod"},"spec":{"encryptedData":{"a":"AQ==","b":"AQ=="},"template":{"data":null}}}`,
	`{"kind":"SealedSecret","apiVersion":"bitnami.com/v1alpha1","spec":{"encryptedData":{"a":"A\u0051==","":""}},"metadata":{"annotations":{"sealedsecrets.bitnami.com/cluster-wide":"true"}}}`,
	"apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: db}\nspec:\n  encryptedData:\n    a: AQ==\n",
	`{"a":[[{"b":1}],null,true,"x"]}`, `[1,2]`, "---\n---\n", "{", "a: &a [*a]", "a: b\na: c\n",
}

// FuzzDocument checks that a SealedSecret is read as the rest of the world
// reads it, and that replacing its values replaces nothing else.
func FuzzDocument(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := parseDocument(body)
		if err != nil {
			return
		}
		was := &bitnamiv1alpha1.SealedSecret{}
		if utiljson.Unmarshal(d.text, was) != nil {
			return // a field of the wrong type, which nobody else reads
		}
		if was.Name != d.at.Name || was.Namespace != d.at.Namespace || len(was.Spec.EncryptedData) != len(d.items) {
			t.Fatalf("%q is read as %v with %d items", d.text, d.at, len(d.items))
		}
		values := make([]string, len(d.items))
		for i, item := range d.items {
			if got, ok := was.Spec.EncryptedData[item.name]; ok && got != item.value {
				t.Fatalf("%q: item %q is %q, want %q", d.text, item.name, item.value, got)
			}
			values[i] = "QUJD"
			if item.end == 0 {
				return // not a text: it never opens, so it is never replaced
			}
		}
		is := &bitnamiv1alpha1.SealedSecret{}
		if err := utiljson.Unmarshal(d.replaced(values), is); err != nil {
			t.Fatalf("%q after the change: %v", d.text, err)
		}
		for item, value := range is.Spec.EncryptedData {
			if value != "QUJD" || is.Name != was.Name {
				t.Fatalf("%q: item %q is %q after the change", d.text, item, value)
			}
		}
	})
}
