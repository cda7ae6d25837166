package attacks

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	esv1alpha1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1alpha1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
)

// place is a reference in a kind: the fields that lead to it, and its type.
type place struct {
	kind reflect.Type
	path []string
	leaf reflect.Type
}

// String is the place as a user writes it: spec.provider.vault.caProvider.
func (p place) String() string { return p.from(p.kind, p.path) }

// from spells a path that begins in a type.
func (p place) from(t reflect.Type, path []string) string {
	text := ""
	for _, name := range path {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		field, _ := t.FieldByName(name)
		if json, _, _ := strings.Cut(field.Tag.Get("json"), ","); json != "" {
			text += "." + json
		}
		if t = field.Type; t.Kind() == reflect.Slice {
			text += "[0]"
		}
	}
	return strings.TrimPrefix(text, ".")
}

// refers reports whether a struct of ours could mean another object: it has a
// name, a namespace, or a selector.
func refers(t reflect.Type) bool {
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		kind := f.Type
		for kind.Kind() == reflect.Pointer || kind.Kind() == reflect.Slice {
			kind = kind.Elem()
		}
		if name == "name" || strings.Contains(strings.ToLower(name), "namespace") || kind == reflect.TypeFor[metav1.LabelSelector]() {
			return true
		}
	}
	return false
}

// walk finds every place below a type. The status says what was done, and the
// metadata where the object itself is.
func walk(kind, t reflect.Type, path []string, seen []reflect.Type, found *[]place) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		walk(kind, t.Elem(), path, seen, found)
	case reflect.Struct:
		if slices.Contains(seen, t) || !strings.HasPrefix(t.PkgPath(), "github.com/lockstep-dev/lockstep/") {
			return
		}
		if len(path) > 0 && refers(t) {
			*found = append(*found, place{kind, slices.Clone(path), t})
		}
		for f := range t.Fields() {
			if f.IsExported() && f.Tag.Get("json") != "-" && (len(path) > 0 || f.Name == "Spec") {
				walk(kind, f.Type, append(path, f.Name), append(seen, t), found)
			}
		}
	}
}

// places are those of all kinds that are served.
func places(t *testing.T) (found []place) {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{esv1.AddToScheme, esv1alpha1.AddToScheme, genv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	done := map[reflect.Type]bool{}
	for _, kind := range scheme.AllKnownTypes() { // two versions are one type
		if _, ok := reflect.TypeAssert[client.Object](reflect.New(kind)); ok && !done[kind] {
			done[kind] = true
			walk(kind, kind, nil, nil, &found)
		}
	}
	slices.SortFunc(found, func(a, b place) int { return strings.Compare(a.kind.Name()+a.String(), b.kind.Name()+b.String()) })
	return found
}

// plant makes what leads to a place, and gives set what is there.
func plant(v reflect.Value, path []string, set func(reflect.Value)) {
	switch {
	case v.Kind() == reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		plant(v.Elem(), path, set)
	case v.Kind() == reflect.Slice:
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		plant(v.Index(0), path, set)
	case len(path) == 0:
		set(v)
	default:
		plant(v.FieldByName(path[0]), path[1:], set)
	}
}

// none are the types that look like a reference, and why they are not one to
// an object of another namespace.
var none = map[reflect.Type]string{
	reflect.TypeFor[esv1.Find]():                        "the name is a pattern for names in the store",
	reflect.TypeFor[esv1.WebhookSecret]():               "the name is that of a value in the templates of the webhook",
	reflect.TypeFor[esv1.StoreCondition]():              "namespaces that may use a ClusterSecretStore",
	reflect.TypeFor[esv1.ClusterExternalSecretSpec]():   "namespaces that get an ExternalSecret, which the platform's owner names",
	reflect.TypeFor[esv1alpha1.ClusterPushSecretSpec](): "namespaces that get a PushSecret, which the platform's owner names",
	reflect.TypeFor[esv1.VaultProvider]():               "a namespace of Vault",
	reflect.TypeFor[esv1.VaultAuth]():                   "a namespace of Vault",
	reflect.TypeFor[esv1.OpenBaoProvider]():             "a namespace of OpenBao",
	reflect.TypeFor[esv1.OpenBaoAuth]():                 "a namespace of OpenBao",
	reflect.TypeFor[esv1.KubernetesProvider]():          "remoteNamespace is read with the credentials of the store",
}

// TestK3EveryReference plants each reference that any kind can have, to what is
// in another namespace. A new one without a case is a failure.
func TestK3EveryReference(t *testing.T) {
	all := places(t)
	tried := map[string]int{}
	var local []place
	for _, p := range all {
		kind := p.kind.Name()
		switch {
		case none[p.leaf] != "":
			continue
		case namespaced[p.leaf] && (kind == esv1.SecretStoreKind || kind == esv1.ClusterSecretStoreKind):
			t.Run(kind+"/"+p.String(), func(t *testing.T) { tryStore(t, p) })
		case namespaced[p.leaf] && p.kind.PkgPath() == reflect.TypeFor[genv1.Fake]().PkgPath():
			t.Run(kind+"/"+p.String(), func(t *testing.T) { tryGenerator(t, p) })
		case ways[p.leaf] != nil && bases[kind] != "":
			local = append(local, p)
		default:
			t.Errorf("%s %s is a %s, which can refer to an object: it needs a rule, and a case in this test", kind, p, p.leaf)
			continue
		}
		tried[kind]++
	}
	tryLocal(t, local)
	for kind, least := range map[string]int{
		esv1.SecretStoreKind: 45, esv1.ClusterSecretStoreKind: 45, esv1.ExternalSecretKind: 7, esv1.ClusterExternalSecretKind: 7, esv1alpha1.PushSecretKind: 6, esv1alpha1.ClusterPushSecretKind: 6,
		genv1.ClusterGeneratorKind: 35, genv1.VaultDynamicSecretKind: 20, genv1.ECRAuthorizationTokenKind: 4, genv1.STSSessionTokenKind: 4, genv1.GCRAccessTokenKind: 5, genv1.WebhookKind: 4,
	} {
		if tried[kind] < least {
			t.Errorf("only %d references of %s were tried, want %d: the walk is wrong", tried[kind], kind, least)
		}
	}
}
