package fetch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/tidwall/gjson"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/externalsecrets/template"
	"github.com/lockstep-dev/lockstep/providers"
)

// step changes keys, and with merge values.
type step func(in map[string][]byte) (map[string][]byte, error)

// Rewrite changes keys as a rewrite says, whose path begins with field. It is
// for values that are not read from a store.
func Rewrite(field string, rewrite []esv1.Rewrite, values map[string][]byte) (map[string][]byte, error) {
	steps, err := newSteps(field, rewrite)
	if err != nil {
		return nil, err
	}
	for i, s := range steps {
		if values, err = s(values); err != nil {
			return nil, fmt.Errorf("%s.rewrite[%d]: %w", field, i, err)
		}
	}
	return values, nil
}

// newSteps compiles a rewrite, so that a mistake in it is known before
// anything is read.
func newSteps(field string, rewrite []esv1.Rewrite) ([]step, error) {
	var steps []step
	for i := range rewrite {
		r := &rewrite[i]
		at := fmt.Sprintf("%s.rewrite[%d]", field, i)
		switch {
		case r.Regexp != nil:
			re, err := regexp.Compile(r.Regexp.Source)
			if err != nil {
				return nil, fmt.Errorf("%s.regexp.source: %w: it is not a regular expression: correct it", at, providers.ErrInvalid)
			}
			steps = append(steps, rename(func(key string) (string, error) { return re.ReplaceAllString(key, r.Regexp.Target), nil }))
		case r.Transform != nil:
			keys, err := template.NewKeys(at+".transform.template", r.Transform.Template)
			if err != nil {
				return nil, err
			}
			steps = append(steps, rename(keys.Key))
		case r.Merge != nil:
			if r.Merge.Strategy == "JSON" && r.Merge.Into == "" {
				return nil, fmt.Errorf("%s.merge.into: %w: strategy JSON needs it: the key of the merged object", at, providers.ErrInvalid)
			}
			steps = append(steps, merge(r.Merge))
		default:
			return nil, fmt.Errorf("%s: %w: set merge, regexp or transform", at, providers.ErrInvalid)
		}
	}
	return steps, nil
}

// rename gives each key a new name. Two that become the same are an error: one
// of the values would be lost, and by chance.
func rename(name func(string) (string, error)) step {
	return func(in map[string][]byte) (map[string][]byte, error) {
		out, from := make(map[string][]byte, len(in)), map[string]string{}
		for _, key := range slices.Sorted(maps.Keys(in)) {
			renamed, err := name(key)
			if err != nil {
				return nil, err
			}
			if other, ok := from[renamed]; ok {
				return nil, fmt.Errorf("%w: keys %q and %q both become %q: make it tell them apart", ErrMalformed, other, key, renamed)
			}
			out[renamed], from[renamed] = in[key], key
		}
		return out, nil
	}
}

// merge makes one object of values that are JSON objects.
func merge(m *esv1.RewriteMerge) step {
	return func(in map[string][]byte) (map[string][]byte, error) {
		merged, err := mergeObjects(m, in)
		if err != nil {
			return nil, err
		}
		out := map[string][]byte{}
		if m.Strategy != "JSON" {
			for key, value := range merged {
				out[key] = text(value)
			}
			return out, nil
		}
		object := map[string]json.RawMessage{}
		for key, value := range merged {
			object[key] = json.RawMessage(value.Raw)
		}
		var buffer bytes.Buffer
		e := json.NewEncoder(&buffer)
		e.SetEscapeHTML(false)
		if err := e.Encode(object); err != nil {
			return nil, fmt.Errorf("%w: the merged object cannot be written as JSON", ErrMalformed)
		}
		maps.Copy(out, in)
		out[m.Into] = bytes.TrimSuffix(buffer.Bytes(), []byte("\n"))
		return out, nil
	}
}

// mergeObjects goes through the values by the order of their keys, those of
// the priority list last.
func mergeObjects(m *esv1.RewriteMerge, in map[string][]byte) (map[string]gjson.Result, error) {
	keys := slices.DeleteFunc(slices.Sorted(maps.Keys(in)), func(key string) bool { return slices.Contains(m.Priority, key) })
	merged, from := map[string]gjson.Result{}, map[string]string{}
	for _, key := range append(keys, m.Priority...) {
		value, ok := in[key]
		if !ok && m.PriorityPolicy == "IgnoreNotFound" {
			continue
		}
		if !ok {
			return nil, fmt.Errorf("%w: there is no key %q of the priority list: correct it, or set priorityPolicy: IgnoreNotFound", ErrMalformed, key)
		}
		parsed := gjson.ParseBytes(value)
		if !gjson.ValidBytes(value) || !parsed.IsObject() {
			return nil, fmt.Errorf("%w: the value of key %q is not a JSON object, so it cannot be merged", ErrMalformed, key)
		}
		var err error
		parsed.ForEach(func(name, value gjson.Result) bool {
			if other, ok := from[name.String()]; ok && other != key && m.ConflictPolicy != "Ignore" {
				err = fmt.Errorf("%w: keys %q and %q both have %q: rename one, or set conflictPolicy: Ignore", ErrMalformed, other, key, name.String())
				return false
			}
			merged[name.String()], from[name.String()] = value, key
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	return merged, nil
}
