package render

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/lockstep-dev/lockstep/reconciler/render/detect"
)

// Suspect is a value of a ConfigMap, an environment variable or an argument
// that is in clear in the source, and looks like a credential. It holds no
// value.
type Suspect struct {
	Object string // as Name gives it
	File   string // in the source; empty if it cannot be told
	Field  string // such as data["app.conf"], or env DB_PASSWORD of container web
	Rule   string // of the package detect
}

func (s Suspect) String() string {
	if s.File == "" {
		return fmt.Sprintf("%s: %s (rule %s)", s.Object, s.Field, s.Rule)
	}
	return fmt.Sprintf("%s: %s of %s (rule %s)", s.Object, s.Field, s.File, s.Rule)
}

// guard finds what is in clear in the source and should not be, before
// variables are substituted.
func (r *readOnly) guard(dir string, o Options, objects []*unstructured.Unstructured, result *Result) {
	if o.FindPlaintext {
		result.Plaintext = r.plaintext(objects, o.Secret)
	}
	if o.FindSuspects {
		result.Suspects = r.suspects(objects, o.IgnoreRules)
	}
	if len(result.Plaintext)+len(result.Suspects) == 0 {
		return
	}
	files := r.locate(dir, o)
	for i := range result.Plaintext {
		result.Plaintext[i].File = files[result.Plaintext[i].Object]
	}
	for i := range result.Suspects {
		result.Suspects[i].File = files[result.Suspects[i].Object]
	}
}

// suspects finds values that look like credentials.
func (r *readOnly) suspects(objects []*unstructured.Unstructured, ignore []string) (found []Suspect) {
	for _, o := range objects {
		v := &values{source: r}
		if o.GetAPIVersion() == "v1" && o.GetKind() == "ConfigMap" {
			v.configMap(o)
		} else {
			v.containers(o.Object, 0)
		}
		for _, f := range detect.Scan(v.texts, ignore) {
			found = append(found, Suspect{Object: Name(o), Field: v.fields[f.Text], Rule: f.Rule})
		}
	}
	return found
}

// values are the texts of one object that are looked at.
type values struct {
	source *readOnly
	texts  []detect.Text
	fields []string // where each is
}

// add takes a value, unless the source holds it encrypted.
func (v *values) add(field, name, value string) {
	if value == "" || v.source.wasOpened("", value) {
		return
	}
	v.texts = append(v.texts, detect.Text{Name: name, Value: value})
	v.fields = append(v.fields, field)
}

func (v *values) configMap(o *unstructured.Unstructured) {
	for _, field := range []string{"data", "binaryData"} {
		data, _ := o.Object[field].(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(data)) {
			text, _ := data[key].(string)
			if field == "binaryData" {
				raw, err := base64.StdEncoding.DecodeString(text)
				if err != nil || !utf8.Valid(raw) {
					continue // no text
				}
				text = string(raw)
			}
			v.add(fmt.Sprintf("%s[%q]", field, key), key, text)
		}
	}
}

// deepest is how far down containers are looked for: those of a CronJob are
// six levels down, and a kind of someone else's may hold a whole Pod.
const deepest = 16

// containers looks for containers in an object of any kind.
func (v *values) containers(m map[string]any, depth int) {
	if depth > deepest {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		switch child := m[key].(type) {
		case map[string]any:
			v.containers(child, depth+1)
		case []any:
			v.list(strings.HasSuffix(strings.ToLower(key), "containers"), child, depth)
		}
	}
}

// list looks at the items of a list, which are containers or may hold some.
func (v *values) list(containers bool, items []any, depth int) {
	for _, item := range items {
		switch m, ok := item.(map[string]any); {
		case !ok:
			return // a list of other things
		case containers:
			v.container(m)
		default:
			v.containers(m, depth+1)
		}
	}
}

func (v *values) container(c map[string]any) {
	of := fmt.Sprintf(" of container %v", c["name"])
	env, _ := c["env"].([]any)
	for _, e := range env {
		entry, _ := e.(map[string]any)
		name, _ := entry["name"].(string)
		value, _ := entry["value"].(string)
		v.add("env "+name+of, name, value)
	}
	for _, field := range []string{"command", "args"} {
		words, _ := c[field].([]any)
		flag := ""
		for i, w := range words {
			word, _ := w.(string)
			v.add(fmt.Sprintf("%s[%d]%s", field, i, of), flag, word)
			flag = ""
			if strings.HasPrefix(word, "-") && !strings.Contains(word, "=") {
				flag = word // what follows may be its value
			}
		}
	}
}
