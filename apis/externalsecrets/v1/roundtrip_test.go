package v1_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	esv1alpha1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1alpha1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

const crds = "../../../charts/lockstep/crds"

var cluster = testenv.Share(func(t testing.TB) (*testenv.ControlPlane, error) {
	return testenv.StartControlPlane(t.Context(), testenv.Options{CRDs: crds})
})

func TestMain(m *testing.M) { testenv.Main(m) }

// definitions are the kinds of the two groups of External Secrets Operator.
func definitions(t *testing.T) (all []*apiextensionsv1.CustomResourceDefinition) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(crds, "*external-secrets.io_*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(data, crd); err != nil {
			t.Fatal(err)
		}
		all = append(all, crd)
	}
	if len(all) < 16 {
		t.Fatalf("%d definitions in %s, want those of 16 kinds", len(all), crds)
	}
	return all
}

// TestRoundTrip creates objects with every field of every kind in each version
// that is served, and sees that each version gives back exactly what was sent:
// nothing is lost, and no default is added. An update through either version
// loses nothing either, and neither do the Go types.
func TestRoundTrip(t *testing.T) {
	cp := cluster.Get(t)
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{esv1.AddToScheme, esv1alpha1.AddToScheme, genv1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.New(cp.RestConfig(), client.Options{Scheme: s})
	if err != nil {
		t.Fatal(err)
	}
	ns := cp.Namespace(t)
	for _, crd := range definitions(t) {
		t.Run(crd.Spec.Names.Kind, func(t *testing.T) {
			r := &roundTrip{Client: client.WithFieldValidation(c, metav1.FieldValidationStrict), scheme: s, crd: crd, namespace: ns, seen: map[string]bool{}}
			missing := r.missing(t)
			for variant := 0; variant < fewest || variant < variants && len(missing) > 0; variant++ {
				for _, v := range crd.Spec.Versions {
					r.through(t, v, variant)
				}
				missing = r.missing(t)
			}
			if len(missing) > 0 {
				t.Errorf("fields in none of %d variants: %v", variants, missing)
			}
		})
	}
}

type roundTrip struct {
	client.Client

	scheme    *runtime.Scheme
	crd       *apiextensionsv1.CustomResourceDefinition
	namespace string
	seen      map[string]bool // paths that were sent
}

// through creates a variant in one version, and reads and updates it in all.
func (r *roundTrip) through(t *testing.T, v apiextensionsv1.CustomResourceDefinitionVersion, variant int) {
	t.Helper()
	f := filler{variant: variant}
	spec := f.object("spec", v.Schema.OpenAPIV3Schema.Properties["spec"])
	paths(spec, "spec", r.seen)
	sent := r.empty(v.Name)
	sent.Object["spec"] = spec
	sent.SetName("full")
	if r.crd.Spec.Scope == apiextensionsv1.NamespaceScoped {
		sent.SetNamespace(r.namespace)
	}
	if err := r.Create(t.Context(), sent.DeepCopy()); err != nil {
		t.Fatalf("%s, variant %d: %v", v.Name, variant, err)
	}
	for _, other := range r.crd.Spec.Versions {
		got := r.read(t, sent, other.Name)
		r.same(t, v.Name+" as "+other.Name, sent, got)
		got.SetLabels(map[string]string{"touched-in": other.Name})
		if err := r.Update(t.Context(), got); err != nil {
			t.Fatalf("update in %s: %v", other.Name, err)
		}
		r.same(t, v.Name+" updated in "+other.Name, sent, r.read(t, sent, v.Name))
	}
	r.typed(t, sent)
	if v.Subresources != nil && v.Subresources.Status != nil {
		r.status(t, v, sent, variant)
	}
	if err := r.Delete(t.Context(), sent); err != nil {
		t.Fatal(err)
	}
}

func (r *roundTrip) empty(version string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{}}
	o.SetAPIVersion(r.crd.Spec.Group + "/" + version)
	o.SetKind(r.crd.Spec.Names.Kind)
	return o
}

func (r *roundTrip) read(t *testing.T, sent *unstructured.Unstructured, version string) *unstructured.Unstructured {
	t.Helper()
	got := r.empty(version)
	if err := r.Get(t.Context(), client.ObjectKeyFromObject(sent), got); err != nil {
		t.Fatal(err)
	}
	return got
}

func (r *roundTrip) same(t *testing.T, how string, sent, got *unstructured.Unstructured) {
	t.Helper()
	if diff := cmp.Diff(sent.Object["spec"], got.Object["spec"]); diff != "" {
		t.Errorf("%s (-sent +got):\n%s", how, diff)
	}
}

// typed sees that the Go type of the stored version has every field.
func (r *roundTrip) typed(t *testing.T, sent *unstructured.Unstructured) {
	t.Helper()
	stored := sent.DeepCopy()
	for _, v := range r.crd.Spec.Versions {
		if v.Storage {
			stored.SetAPIVersion(r.crd.Spec.Group + "/" + v.Name)
		}
	}
	typed, err := r.scheme.New(stored.GroupVersionKind())
	if err != nil {
		t.Fatal(err)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(stored.Object, typed, false); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(typed)
	if err != nil {
		t.Fatal(err)
	}
	back := &unstructured.Unstructured{}
	if err := back.UnmarshalJSON(text); err != nil {
		t.Fatal(err)
	}
	if spec, _ := stored.Object["spec"].(map[string]any); len(spec) > 0 {
		r.same(t, "through Go", stored, back)
	}
}

// status sees that the status of a version is the same in the others.
func (r *roundTrip) status(t *testing.T, v apiextensionsv1.CustomResourceDefinitionVersion, sent *unstructured.Unstructured, variant int) {
	t.Helper()
	status := (&filler{variant: variant}).object("status", v.Schema.OpenAPIV3Schema.Properties["status"])
	if len(status) == 0 {
		return
	}
	o := r.read(t, sent, v.Name)
	o.Object["status"] = status
	if err := r.Status().Update(t.Context(), o.DeepCopy()); err != nil {
		t.Fatalf("status in %s: %v", v.Name, err)
	}
	for _, other := range r.crd.Spec.Versions {
		if diff := cmp.Diff(status, r.read(t, sent, other.Name).Object["status"]); diff != "" {
			t.Errorf("status of %s as %s (-sent +got):\n%s", v.Name, other.Name, diff)
		}
	}
}

// missing are the fields of the Go type that were in no variant yet.
func (r *roundTrip) missing(t *testing.T) (all []string) {
	t.Helper()
	version := ""
	for _, v := range r.crd.Spec.Versions {
		if v.Storage {
			version = v.Name
		}
	}
	o, err := r.scheme.New(r.empty(version).GroupVersionKind())
	if err != nil {
		t.Fatal(err)
	}
	spec, ok := reflect.TypeOf(o).Elem().FieldByName("Spec")
	if !ok {
		t.Fatal("no spec")
	}
	want := map[string]bool{}
	fields(spec.Type, "spec", want)
	if len(want) == 0 && r.crd.Spec.Names.Kind != genv1.UUIDKind {
		t.Error("no fields: this test went blind")
	}
	for path := range want {
		if !r.seen[path] {
			all = append(all, path)
		}
	}
	return all
}

// fields collects the JSON paths of a type; what is in a list or a map has the
// path of the list or map.
func fields(t reflect.Type, at string, into map[string]bool) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		fields(t.Elem(), at, into)
	case reflect.Struct:
		if strings.HasPrefix(t.PkgPath(), "k8s.io/") {
			return
		}
		for f := range t.Fields() {
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case name == "-":
			case name == "" && strings.Contains(options, "inline"):
				fields(f.Type, at, into)
			default:
				into[at+"."+name] = true
				fields(f.Type, at+"."+name, into)
			}
		}
	}
}

// paths collects the paths of a value in the same way.
func paths(v any, at string, into map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			into[at+"."+key] = true
			paths(value, at+"."+key, into)
			paths(value, at, into) // for a map, whose keys are no fields
		}
	case []any:
		for _, value := range v {
			paths(value, at, into)
		}
	}
}
