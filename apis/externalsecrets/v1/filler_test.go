package v1_test

import (
	"maps"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// variants are enough for every alternative, and those within it. At least
// fewest are tried, for the values of enumerations.
const (
	variants = 40
	fewest   = 4
)

// filler makes values of every field of a schema. Where only one of several is
// allowed, each variant has another.
type filler struct{ variant int }

// alternatives are the objects whose fields exclude each other by a rule.
var alternatives = map[string][][]string{
	"dataFrom": {{"extract"}, {"find"}, {"sourceRef"}},
}

// values are those of fields that the schema does not say enough of.
var values = map[string]any{
	"refreshInterval": "1h0m0s", "timeout": "10s", "retryInterval": "10s", "refreshTime": "1h0m0s", "status.refreshTime": "2026-01-02T03:04:05Z",
	"schedule": "0 3 * * *", "duration": "1h", "operator": "In",
	// Delete goes with Owner and Orphan only.
	"target.creationPolicy": "Orphan", "target.deletionPolicy": "Delete",
}

func (f *filler) object(path string, s apiextensionsv1.JSONSchemaProps) map[string]any {
	out := map[string]any{}
	keys := slices.Sorted(maps.Keys(s.Properties))
	name := path[strings.LastIndex(path, ".")+1:]
	switch {
	case s.MaxProperties != nil && *s.MaxProperties == 1:
		n := len(keys)
		keys = keys[f.variant%n:][:1]
		f = &filler{f.variant / n} // what is within has its own turn
	case len(alternatives[name]) > 0:
		all := alternatives[name]
		some := all[f.variant%len(all)]
		keys = slices.DeleteFunc(keys, func(k string) bool { return excluded(all, k) && !slices.Contains(some, k) })
		f = &filler{f.variant / len(all)}
	}
	for _, key := range keys {
		out[key] = f.value(path+"."+key, s.Properties[key])
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		out["some-key"] = f.value(path+".some-key", *s.AdditionalProperties.Schema)
	}
	if preserves(s) && s.MaxProperties == nil {
		out["anything"] = map[string]any{"else": []any{"is", int64(1), true}}
	}
	return out
}

// excluded reports whether a key is in some alternative.
func excluded(all [][]string, key string) bool {
	return slices.ContainsFunc(all, func(some []string) bool { return slices.Contains(some, key) })
}

func preserves(s apiextensionsv1.JSONSchemaProps) bool {
	return s.XPreserveUnknownFields != nil && *s.XPreserveUnknownFields
}

func (f *filler) value(path string, s apiextensionsv1.JSONSchemaProps) any {
	parts := strings.Split(path, ".")
	name := parts[len(parts)-1]
	for _, key := range []string{parts[0] + "." + name, strings.Join(parts[max(0, len(parts)-2):], "."), name} {
		if v, ok := values[key]; ok && (s.Type == "string" || s.XIntOrString) {
			return v
		}
	}
	switch {
	case len(s.Enum) > 0:
		return strings.Trim(string(s.Enum[f.variant%len(s.Enum)].Raw), `"`)
	case s.XIntOrString:
		return int64(60)
	case s.Type == "object" || s.Type == "" && preserves(s):
		return f.object(path, s)
	case s.Type == "array":
		if s.MaxItems != nil && *s.MaxItems == 0 {
			return []any{}
		}
		return []any{f.value(path, *s.Items.Schema)}
	case s.Type == "boolean":
		return true
	case s.Type == "integer":
		if s.Minimum != nil && *s.Minimum > 1 {
			return int64(*s.Minimum)
		}
		return int64(1)
	case s.Format == "byte":
		return "YQ=="
	case s.Format == "date-time":
		return "2026-01-02T03:04:05Z"
	default:
		return "a"
	}
}
