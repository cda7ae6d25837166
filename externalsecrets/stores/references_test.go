package stores

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	esv1alpha1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1alpha1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/providers"
)

// places finds, in a type, every path to a struct that names a namespace.
func places(t reflect.Type, path string, seen []reflect.Type, found map[string]reflect.Type) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		places(t.Elem(), path, seen, found)
	case reflect.Struct:
		if slices.Contains(seen, t) {
			return
		}
		for f := range t.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "namespace" || name == "namespaces" {
				found[path] = t
			}
			if name != "-" && f.IsExported() {
				places(f.Type, path+"."+f.Name, append(seen, t), found)
			}
		}
	}
}

// TestEveryReferenceOfAStoreIsResolvedByOneFunction walks every field of every
// provider. One that names a namespace must be of a type that selectors knows,
// and so go through scope, which refuses another namespace.
func TestEveryReferenceOfAStoreIsResolvedByOneFunction(t *testing.T) {
	found := map[string]reflect.Type{}
	places(reflect.TypeFor[esv1.SecretStoreProvider](), "", nil, found)
	if len(found) < 20 {
		t.Fatalf("only %d references found: the walk is wrong", len(found))
	}
	for path, kind := range found {
		if path == ".Vault" || path == ".Vault.Auth" {
			continue // a namespace of Vault, which is none of Kubernetes
		}
		t.Run(strings.TrimPrefix(path, "."), func(t *testing.T) {
			if _, ok := selectorOf(reflect.New(kind).Elem().Interface()); !ok {
				t.Fatalf("%s is a %s, which names a namespace and is none of the types that selectors finds", path, kind)
			}
			p := &esv1.SecretStoreProvider{}
			plant(reflect.ValueOf(p).Elem(), strings.Split(strings.TrimPrefix(path, "."), "."), "elsewhere")
			refs := selectors(p)
			if len(refs) != 1 || refs[0].namespace == nil || *refs[0].namespace != "elsewhere" {
				t.Fatalf("%s: selectors found %v", path, refs)
			}
			if _, err := (scope{own: "mine"}).namespace(refs[0].field, refs[0].namespace); !errors.Is(err, providers.ErrInvalid) {
				t.Errorf("%s: a SecretStore may refer to another namespace: %v", path, err)
			}
		})
	}
}

// plant puts a reference to a namespace at a path.
func plant(v reflect.Value, path []string, namespace string) {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Slice {
		if v.Kind() == reflect.Pointer {
			v.Set(reflect.New(v.Type().Elem()))
			v = v.Elem()
			continue
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		v = v.Index(0)
	}
	if len(path) > 0 && path[0] != "" {
		plant(v.FieldByName(path[0]), path[1:], namespace)
		return
	}
	v.FieldByName("Name").SetString("name")
	if field := v.FieldByName("Namespace"); field.Kind() == reflect.String {
		field.SetString(namespace)
	} else {
		field.Set(reflect.ValueOf(&namespace))
	}
	if kind := v.FieldByName("Type"); kind.IsValid() {
		kind.SetString("Secret")
	}
}

// TestNamespacedKindsNameNoNamespace holds for every other kind: what they
// refer to is in their own namespace, because no field can say another.
func TestNamespacedKindsNameNoNamespace(t *testing.T) {
	for _, kind := range []reflect.Type{
		reflect.TypeFor[esv1.ExternalSecretSpec](), reflect.TypeFor[esv1alpha1.PushSecretSpec](),
		reflect.TypeFor[genv1.PasswordSpec](), reflect.TypeFor[genv1.UUIDSpec](), reflect.TypeFor[genv1.SSHKeySpec](), reflect.TypeFor[genv1.FakeSpec](),
	} {
		found := map[string]reflect.Type{}
		places(kind, kind.Name(), nil, found)
		for path := range found {
			t.Errorf("%s can name a namespace: it needs a rule, and a case in this test", path)
		}
	}
}
