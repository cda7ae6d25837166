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

// Change sets fields of the settings of a provider, each by its path in them,
// such as auth.secretRef. Nil removes one.
type Change map[string]any

// Fields is the inventory of the settings of a provider: each of them is
// served, or refused by its name, and none is ignored.
type Fields struct {
	// Provider is the key of spec.provider, and Settings the Go type of what is
	// below it.
	Provider string
	Settings any
	// Base are settings that work.
	Base map[string]any
	// Served says, for each field that is served, how to set it: what the store
	// does then is not what it does with the rest of the Change alone.
	Served map[string]Change
	// Refused says, for each field that is not served, how to set it.
	Refused map[string]Change
	// Trace opens a store, uses it in every way, and returns what it has read
	// and sent.
	Trace func(t *testing.T, config providers.Config) (string, error)
}

// Test checks every field of the Go type.
func (f Fields) Test(t *testing.T) {
	var have []string
	paths(reflect.TypeOf(f.Settings), "", &have)
	var known []string
	for _, table := range []map[string]Change{f.Served, f.Refused} {
		for field := range table {
			known = append(known, field)
		}
	}
	slices.Sort(have)
	slices.Sort(known)
	if diff := cmp.Diff(have, slices.Compact(known)); diff != "" {
		t.Fatalf("fields of %T that are neither served nor refused in the table (-), or are no fields (+):\n%s", f.Settings, diff)
	}
	for field, change := range f.Served {
		t.Run("Served/"+field, func(t *testing.T) { f.testServed(t, field, change) })
	}
	for field, change := range f.Refused {
		t.Run("Refused/"+field, func(t *testing.T) { f.testRefused(t, field, change) })
	}
}

func (f Fields) testServed(t *testing.T, field string, change Change) {
	with, err := f.Trace(t, f.config(t, change, ""))
	if err != nil {
		t.Fatalf("a store with %s: %v", field, err)
	}
	without, err := f.Trace(t, f.config(t, change, field))
	if err == nil && with == without {
		t.Errorf("a store with %s does what it does without:\n%s", field, with)
	}
}

// testRefused wants the error to name the field, or what it is a part of.
func (f Fields) testRefused(t *testing.T, field string, change Change) {
	_, err := f.Trace(t, f.config(t, change, ""))
	if !errors.Is(err, providers.ErrInvalid) {
		t.Fatalf("a store with %s: got %v, want ErrInvalid", field, err)
	}
	for named := field; !strings.Contains(err.Error(), "spec.provider."+f.Provider+"."+named+": "); {
		dot := strings.LastIndexByte(named, '.')
		if dot < 0 {
			t.Fatalf("a store with %s: got %v, which does not name the field", field, err)
		}
		named = named[:dot]
	}
}

// config makes settings of Base with a change, but for one field.
func (f Fields) config(t *testing.T, change Change, without string) providers.Config {
	t.Helper()
	var settings map[string]any
	decode(t, f.Base, &settings)
	for field, value := range change {
		if field != without {
			set(settings, strings.Split(field, "."), value)
		}
	}
	config := providers.Config{Provider: &esv1.SecretStoreProvider{}}
	decode(t, map[string]any{f.Provider: settings}, config.Provider)
	return config
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
	if of.Kind() != reflect.Struct || slices.Contains(whole, of) || !strings.HasPrefix(of.PkgPath(), reflect.TypeFor[esv1.SecretKeySelector]().PkgPath()) {
		*found = append(*found, strings.TrimSuffix(prefix, "."))
		return
	}
	for field := range of.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		paths(field.Type, prefix+name+".", found)
	}
}
