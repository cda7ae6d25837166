package conformance

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// inventory has each field of a Go type in one of its tables.
type inventory struct {
	of              any
	at              string // what errors put before a field
	served, refused map[string]Change
	idle            map[string]Change // are taken, and cannot make a difference
	// trace does what a change without one of its fields asks for, and returns
	// what that has read and sent.
	trace func(t *testing.T, change Change, without string) (string, error)
}

func (v inventory) test(t *testing.T) {
	t.Helper()
	var have, known []string
	paths(reflect.TypeOf(v.of), "", &have)
	for _, table := range []map[string]Change{v.served, v.refused, v.idle} {
		for field := range table {
			known = append(known, field)
		}
	}
	slices.Sort(have)
	slices.Sort(known)
	if diff := cmp.Diff(have, slices.Compact(known)); diff != "" {
		t.Fatalf("fields of %T that are neither served nor refused in the table (-), or are no fields (+):\n%s", v.of, diff)
	}
	for field, change := range v.served {
		t.Run("Served/"+field, func(t *testing.T) { v.testServed(t, field, change) })
	}
	for field, change := range v.idle {
		t.Run("Idle/"+field, func(t *testing.T) {
			if _, err := v.trace(t, change, ""); err != nil {
				t.Errorf("with %s: %v", v.at+field, err)
			}
		})
	}
	for field, change := range v.refused {
		t.Run("Refused/"+field, func(t *testing.T) { v.testRefused(t, field, change) })
	}
}

func (v inventory) testServed(t *testing.T, field string, change Change) {
	with, err := v.trace(t, change, "")
	if err != nil {
		t.Fatalf("with %s: %v", v.at+field, err)
	}
	if again, err := v.trace(t, change, ""); err != nil || again != with {
		t.Errorf("twice with %s, which makes a difference by itself, so this test went blind: %v\n%s\n%s", v.at+field, err, with, again)
	}
	without, err := v.trace(t, change, field)
	if err == nil && with == without {
		t.Errorf("with %s the same happens as without:\n%s", v.at+field, with)
	}
}

// testRefused wants the error to name the field, or what it is a part of.
func (v inventory) testRefused(t *testing.T, field string, change Change) {
	_, err := v.trace(t, change, "")
	if !errors.Is(err, providers.ErrInvalid) {
		t.Fatalf("with %s: got %v, want ErrInvalid", v.at+field, err)
	}
	for named := field; !strings.Contains(err.Error(), v.at+named+": "); {
		dot := strings.LastIndexByte(named, '.')
		if dot < 0 {
			t.Fatalf("with %s: got %v, which does not name the field", v.at+field, err)
		}
		named = named[:dot]
	}
}

// apply sets all fields of a change but one in a copy of base.
func apply(t *testing.T, base map[string]any, change Change, without string) map[string]any {
	t.Helper()
	settings := map[string]any{}
	decode(t, base, &settings)
	if settings == nil {
		settings = map[string]any{}
	}
	for field, value := range change {
		if field != without {
			set(settings, strings.Split(field, "."), value)
		}
	}
	return settings
}

// decode copies in into out by way of JSON.
func decode(t *testing.T, in, out any) {
	t.Helper()
	text, err := json.Marshal(in)
	if err == nil {
		err = json.Unmarshal(text, out)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func set(into map[string]any, path []string, value any) {
	switch {
	case len(path) > 1:
		next, ok := into[path[0]].(map[string]any)
		if !ok {
			next = map[string]any{}
			into[path[0]] = next
		}
		set(next, path[1:], value)
	case value == nil:
		delete(into, path[0])
	default:
		into[path[0]] = value
	}
}

// module is the path of this one: what other modules define is not walked.
const module = "github.com/lockstep-dev/lockstep/"

// whole are types that stand for one thing: references, which package stores
// resolves, and pairs.
var whole = []reflect.Type{
	reflect.TypeFor[esv1.SecretKeySelector](), reflect.TypeFor[esv1.ServiceAccountSelector](), reflect.TypeFor[esv1.CAProvider](),
	reflect.TypeFor[esv1.GCPSecretName](), reflect.TypeFor[esv1.GCPConfigMapKey](),
}

// paths lists the fields of a type that hold no others.
func paths(of reflect.Type, prefix string, found *[]string) {
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct || slices.Contains(whole, of) || of.PkgPath() != "" && !strings.HasPrefix(of.PkgPath(), module) {
		*found = append(*found, strings.TrimSuffix(prefix, "."))
		return
	}
	for field := range of.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name != "" { // it is no inline one
			name += "."
		}
		paths(field.Type, prefix+name, found)
	}
}
