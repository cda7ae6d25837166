package fields

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// Untold returns the fields of a Go type, by their paths, that none of some
// values of it, as YAML, sets. What is in a list or a map has the path of that.
func Untold(t *testing.T, of any, texts ...string) []string {
	t.Helper()
	told := map[string]bool{}
	for _, text := range texts {
		var value any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		tell(value, "", told)
	}
	want := map[string]bool{}
	wanted(reflect.TypeOf(of), "", want)
	if len(want) < 5 {
		t.Fatalf("%T has %d fields: this test went blind", of, len(want))
	}
	maps.DeleteFunc(want, func(path string, _ bool) bool { return told[path] })
	return slices.Sorted(maps.Keys(want))
}

// tell collects the paths that a value has.
func tell(value any, at string, told map[string]bool) {
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			told[at+"."+key] = true
			tell(inner, at+"."+key, told)
		}
	case []any:
		for _, inner := range v {
			tell(inner, at, told)
		}
	}
}

// module is this one: fields of others' types are not looked into.
const module = "github.com/lockstep-dev/lockstep/"

// wanted collects the paths that a type has.
func wanted(of reflect.Type, at string, want map[string]bool) {
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct || !strings.HasPrefix(of.PkgPath(), module) {
		return
	}
	for field := range of.Fields() {
		path := at
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" {
			path += "." + name
			want[path] = true
		}
		wanted(field.Type, path, want)
	}
}
