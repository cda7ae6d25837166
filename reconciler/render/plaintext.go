package render

import (
	"fmt"
	"path"
	"regexp"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// Plaintext is a Secret whose values are in clear in the source. It holds no
// value.
type Plaintext struct {
	Object string   // as Name gives it
	File   string   // in the source; empty if it cannot be told
	Keys   []string // of data and stringData
}

func (p Plaintext) String() string {
	if p.File == "" {
		return fmt.Sprintf("%s (keys %q)", p.Object, p.Keys)
	}
	return fmt.Sprintf("%s (keys %q) of %s", p.Object, p.Keys, p.File)
}

// plaintext finds the Secrets with values in clear. It looks at what was built
// before variables are substituted: a value that comes from a Secret of the
// cluster is not in the source.
func (r *readOnly) plaintext(objects []*unstructured.Unstructured, secret map[string]bool) (found []Plaintext) {
	for _, o := range objects {
		if o.GetAPIVersion() != "v1" || o.GetKind() != "Secret" {
			continue
		}
		if keys := r.inClear(o, secret); len(keys) > 0 {
			found = append(found, Plaintext{Object: Name(o), Keys: keys})
		}
	}
	return found
}

// inClear returns the keys of a Secret whose values are in clear.
func (r *readOnly) inClear(o *unstructured.Unstructured, secret map[string]bool) (keys []string) {
	for _, field := range []string{"data", "stringData"} {
		values, _ := o.Object[field].(map[string]any)
		for key, v := range values {
			if text := fmt.Sprint(v); v != nil && v != "" && !fromSecret(text, secret) && !r.wasOpened(field, text) {
				keys = append(keys, key)
			}
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// reference is a variable in a text, with or without operators behind it.
var reference = regexp.MustCompile(`\$\{([_[:alpha:]][_[:alpha:][:digit:]]*)`)

// fromSecret reports whether a text takes a value from a Secret.
func fromSecret(text string, secret map[string]bool) bool {
	for _, m := range reference.FindAllStringSubmatch(text, -1) {
		if secret[m[1]] {
			return true
		}
	}
	return false
}

// locate returns the files that objects come from, by a second build that
// notes the origin of each. What it cannot tell is missing: the objects are
// named in any case.
func (r *readOnly) locate(dir string, o Options) map[string]string {
	files := map[string]string{}
	o.BuildMetadata = []string{"originAnnotations"}
	r.overlay = nil
	if err := r.prepare(dir, o); err != nil {
		return files
	}
	built, err := build(r, dir)
	if err != nil {
		return files
	}
	for _, res := range built.Resources() {
		object, err := toObject(res)
		if err != nil {
			continue
		}
		var origin struct {
			Path         string `json:"path"`
			ConfiguredIn string `json:"configuredIn"` // of what a generator made
		}
		if yaml.Unmarshal([]byte(object.GetAnnotations()["config.kubernetes.io/origin"]), &origin) == nil {
			if p := origin.Path + origin.ConfiguredIn; p != "" {
				files[Name(object)] = path.Join(dir, p)
			}
		}
	}
	return files
}
