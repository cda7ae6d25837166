package render

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/fluxcd/pkg/envsubst"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// skipSubstitute, as a label or an annotation with the value "disabled",
// leaves an object as it is.
const skipSubstitute = "kustomize.toolkit.fluxcd.io/substitute"

// variable is how a variable may be called. Source: Flux, Kustomization,
// "Post build variable substitution".
var variable = regexp.MustCompile(`^[_[:alpha:]][_[:alpha:][:digit:]]*$`)

// CheckVariable returns an error if name cannot be a variable.
func CheckVariable(name string) error {
	if !variable.MatchString(name) {
		return fmt.Errorf("%q cannot be a variable: use letters, digits and _, and no digit first", name)
	}
	return nil
}

// substitute replaces ${variables} in every string of o. Flux substitutes in
// the YAML text, where a value with a line break or a colon breaks the
// document, and so strips line breaks. Here each string is replaced as a whole
// and then read as the YAML scalar that it would have been, so that
// "${REPLICAS}" can become a number, and a PEM key stays whole.
func substitute(o *unstructured.Unstructured, vars map[string]string) error {
	if o.GetLabels()[skipSubstitute] == "disabled" || o.GetAnnotations()[skipSubstitute] == "disabled" {
		return nil
	}
	s := substitution(vars)
	content, err := s.mapping("", o.Object, false)
	if err != nil {
		return err
	}
	o.Object = content
	return nil
}

type substitution map[string]string

// text are the fields whose values are always strings: a number in them is
// text too.
var text = map[string]bool{
	".metadata.labels": true, ".metadata.annotations": true, ".data": true, ".stringData": true,
	".spec.template.metadata.labels": true, ".spec.template.metadata.annotations": true,
}

func (s substitution) mapping(at string, m map[string]any, asText bool) (map[string]any, error) {
	out := make(map[string]any, len(m))
	for key, value := range m {
		newKey, err := s.eval(at, key)
		if err != nil {
			return nil, err
		}
		if out[newKey], err = s.value(at+"."+key, value, asText || text[at+"."+key]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s substitution) value(at string, v any, asText bool) (any, error) {
	switch v := v.(type) {
	case map[string]any:
		return s.mapping(at, v, asText)
	case []any:
		for i := range v {
			item, err := s.value(fmt.Sprintf("%s[%d]", at, i), v[i], asText)
			if err != nil {
				return nil, err
			}
			v[i] = item
		}
		return v, nil
	case string:
		result, err := s.eval(at, v)
		if err != nil || result == v {
			return v, err
		}
		return scalar(result, asText), nil
	default:
		return v, nil
	}
}

// eval expands one string. It is strict: a variable without a value and
// without a default is an error, or a typo would apply an empty string.
func (s substitution) eval(at, in string) (string, error) {
	if !strings.Contains(in, "$") {
		return in, nil
	}
	var missing []string
	out, err := envsubst.Eval(in, func(name string) (string, bool) {
		value, ok := s[name]
		if !ok {
			missing = append(missing, name)
		}
		return value, ok
	})
	if err != nil {
		// The library's text can hold the string around the variable.
		if len(missing) > 0 {
			return "", fmt.Errorf("%s: variable %q has no value: set it in postBuild or give it a default, ${%s:=...}", field(at), missing[0], missing[0])
		}
		return "", fmt.Errorf("%s: a ${...} expression in it cannot be read: write $${...} to keep it as it is", field(at))
	}
	return out, nil
}

func field(at string) string { return strings.TrimPrefix(at, ".") }

// scalar reads text as YAML would read it in place of the variable. What is
// not one plain scalar stays text, so that no value can change the structure.
func scalar(s string, asText bool) any {
	if strings.Contains(s, "\n") {
		return s
	}
	var v any
	if err := yaml.Unmarshal([]byte(s), &v); err != nil {
		return s
	}
	switch v := v.(type) {
	case string:
		if strings.HasPrefix(s, `"`) || strings.HasPrefix(s, "'") {
			return v // quoted, so that a number stays text
		}
		return s // a " #" in a value is no comment
	case bool, float64:
		if asText {
			return s
		}
		return number(v)
	default:
		return s
	}
}

// number gives whole numbers the type that unstructured objects have for them.
func number(v any) any {
	if f, ok := v.(float64); ok && f == float64(int64(f)) {
		return int64(f)
	}
	return v
}
