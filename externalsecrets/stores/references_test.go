package stores

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
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
			if strings.Contains(strings.ToLower(name), "namespace") {
				found[path] = t
			}
			if name != "-" && f.IsExported() {
				places(f.Type, path+"."+f.Name, append(seen, t), found)
			}
		}
	}
}

// elsewhere is a namespace that is neither a store's nor its user's.
const elsewhere = "elsewhere"

// looked is a cache that has nothing, and remembers where it was looked.
type looked struct {
	client.Reader

	at []string
}

func (l *looked) Get(_ context.Context, key client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
	l.at = append(l.at, key.Namespace)
	return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
}

// TestEveryReferenceOfAStore walks every field of every provider. One that
// names a namespace must be of a type that selectors knows, and so go through
// scope. Each is planted in a SecretStore, where it may not lead to another
// namespace, and in a ClusterSecretStore.
func TestEveryReferenceOfAStore(t *testing.T) {
	found := map[string]reflect.Type{}
	places(reflect.TypeFor[esv1.SecretStoreProvider](), "", nil, found)
	if len(found) < 40 {
		t.Fatalf("only %d references found: the walk is wrong", len(found))
	}
	for path, kind := range found {
		switch path {
		case ".Vault", ".Vault.Auth", ".OpenBao", ".OpenBao.Auth":
			continue // a namespace of Vault, which is none of Kubernetes
		case ".Kubernetes":
			continue // remoteNamespace is what is read there with the credentials of the store, not what it refers to here
		}
		t.Run(strings.TrimPrefix(path, "."), func(t *testing.T) {
			if _, ok := selectorOf(reflect.New(kind).Elem().Interface()); !ok {
				t.Fatalf("%s is a %s, which names a namespace and is none of the types that selectors finds", path, kind)
			}
			testReference(t, strings.Split(strings.TrimPrefix(path, "."), "."), kind == reflect.TypeFor[esv1.CAProvider]())
		})
	}
}

func testReference(t *testing.T, path []string, authority bool) {
	t.Helper()
	planted := func(namespace string) *esv1.SecretStoreProvider {
		p := &esv1.SecretStoreProvider{}
		plant(reflect.ValueOf(p).Elem(), path, namespace)
		if refs := selectors(p); len(refs) != 1 {
			t.Fatalf("selectors found %v, want one", refs)
		}
		return p
	}
	cases := map[string]struct {
		reason    string
		own, user string // "" of own: a ClusterSecretStore
		namespace string
		looks     string // where it is looked; "" if it is refused first
		err       error
	}{
		"StoreOther":   {reason: "A SecretStore names no other namespace.", own: "mine", namespace: elsewhere, err: providers.ErrInvalid},
		"StoreOwn":     {reason: "It may name its own.", own: "mine", namespace: "mine", looks: "mine", err: ErrReference},
		"StoreNone":    {reason: "Or none.", own: "mine", user: "user", looks: "mine", err: ErrReference},
		"ClusterNamed": {reason: "A ClusterSecretStore names any.", user: "user", namespace: elsewhere, looks: elsewhere, err: ErrReference},
		"ClusterNone":  {reason: "Without one it means that of its user.", user: "user", looks: "user", err: ErrReference},
		"ClusterAlone": {reason: "And nothing, if nobody uses it.", err: errReferent},
	}
	for name, tc := range cases {
		store := client.Object(&esv1.ClusterSecretStore{Spec: esv1.StoreSpec{Provider: planted(tc.namespace)}})
		if tc.own != "" {
			store = &esv1.SecretStore{ObjectMeta: metav1.ObjectMeta{Namespace: tc.own}, Spec: esv1.StoreSpec{Provider: planted(tc.namespace)}}
		}
		cache := &looked{}
		s := &Stores{Metadata: cache}
		generic := store.(esv1.GenericStore)
		_, err := s.version(t.Context(), generic, scopeOf(generic, tc.user))
		if got := strings.Join(cache.at, " "); got != tc.looks || !errors.Is(err, tc.err) {
			t.Errorf("%s: %s\nlooked in %q, got %v, want it in %q, and %v", name, tc.reason, got, err, tc.looks, tc.err)
		}
		if err := checkSpec(generic); authority && tc.own == "" && tc.namespace == "" && !errors.Is(err, providers.ErrInvalid) {
			t.Errorf("%s: who is trusted is said by the user of a ClusterSecretStore: %v", name, err)
		}
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

// TestEveryReaderOfReferences calls every method of providers.References with
// a reference to another namespace, as a backend of a SecretStore could.
func TestEveryReaderOfReferences(t *testing.T) {
	cache := &looked{}
	refs := reflect.ValueOf(&references{reader: cache, scope: scope{own: "mine"}})
	methods := reflect.TypeFor[providers.References]()
	for m := range methods.Methods() {
		in := []reflect.Value{reflect.ValueOf(t.Context())}
		for i := 1; i < m.Type.NumIn(); i++ {
			v := reflect.New(m.Type.In(i)).Elem()
			if _, ok := selectorOf(v.Interface()); ok {
				plant(v, nil, elsewhere)
			}
			in = append(in, v)
		}
		out := refs.MethodByName(m.Name).Call(in)
		if err, _ := reflect.TypeAssert[error](out[len(out)-1]); !errors.Is(err, providers.ErrInvalid) {
			t.Errorf("%s of another namespace: got %v, want ErrInvalid", m.Name, err)
		}
	}
	if methods.NumMethod() < 4 || len(cache.at) > 0 {
		t.Errorf("%d methods were tried, and something was looked up in %v", methods.NumMethod(), cache.at)
	}
}
