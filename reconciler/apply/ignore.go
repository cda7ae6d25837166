package apply

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// without returns a copy of desired that leaves the fields at the pointers as
// they are in live: one that somebody else owns is not asked for, and of one
// that only we own the present value is.
func without(desired, live *unstructured.Unstructured, pointers []string) (*unstructured.Unstructured, error) {
	others, err := ownedByOthers(live)
	if err != nil {
		return nil, err
	}
	out := desired.DeepCopy()
	for _, p := range pointers {
		keys, err := parsePointer(p)
		if err != nil {
			return nil, err
		}
		if _, ok := at(out.Object, keys); !ok {
			continue
		}
		value, there := at(live.Object, keys)
		if there && !owns(others, live.Object, keys) {
			put(out.Object, keys, value)
			continue
		}
		drop(out.Object, keys)
	}
	return out, nil
}

// ownedByOthers is the set of fields that somebody besides us owns.
func ownedByOthers(live metav1.Object) (*fieldpath.Set, error) {
	all := &fieldpath.Set{}
	for _, f := range live.GetManagedFields() {
		if f.Manager == FieldManager || f.FieldsV1 == nil {
			continue
		}
		set := &fieldpath.Set{}
		if err := set.FromJSON(bytes.NewReader(f.FieldsV1.GetRawBytes())); err != nil {
			return nil, fmt.Errorf("fields of manager %s: %w", f.Manager, err)
		}
		all = all.Union(set)
	}
	return all, nil
}

// CheckPointer returns an error if p is no JSON pointer to a field.
func CheckPointer(p string) error {
	_, err := parsePointer(p)
	return err
}

// parsePointer splits a JSON pointer. Source: RFC 6901.
func parsePointer(p string) ([]string, error) {
	if !strings.HasPrefix(p, "/") || p == "/" {
		return nil, fmt.Errorf("%q is no JSON pointer: write /spec/replicas", p)
	}
	keys := strings.Split(p[1:], "/")
	for i, k := range keys {
		keys[i] = strings.ReplaceAll(strings.ReplaceAll(k, "~1", "/"), "~0", "~")
	}
	return keys, nil
}

// owns reports whether a set has the field of an object that keys lead to, or
// anything below it, or holds a whole that the field is part of.
func owns(set *fieldpath.Set, v any, keys []string) bool {
	for i, key := range keys {
		elements, below := step(v, key)
		next := &fieldpath.Set{}
		for _, e := range elements {
			child, ok := set.Children.Get(e)
			if member := set.Members.Has(e); member && (i == len(keys)-1 || !ok) {
				return true
			}
			if ok {
				next = child
			}
		}
		set, v = next, below
	}
	return !set.Empty()
}

// step returns how a set may name the element of v at key, and the element.
func step(v any, key string) (elements []fieldpath.PathElement, below any) {
	list, ok := v.([]any)
	if !ok {
		fields, _ := v.(map[string]any)
		return []fieldpath.PathElement{{FieldName: &key}}, fields[key]
	}
	i, err := strconv.Atoi(key)
	if err != nil || i < 0 || i >= len(list) {
		return nil, nil
	}
	item := list[i]
	elements = []fieldpath.PathElement{{Index: &i}}
	fields, ok := item.(map[string]any)
	if !ok {
		scalar := value.NewValueInterface(item)
		return append(elements, fieldpath.PathElement{Value: &scalar}), item
	}
	return append(elements, keyed(fields)...), item
}

// listKeys are the keys by which the lists of Kubernetes' own kinds are merged.
// Source: the x-kubernetes-list-map-keys of its OpenAPI document.
var listKeys = [][]string{{"name"}, {"type"}, {"key"}, {"ip"}, {"uid"}, {"mountPath"}, {"devicePath"}, {"containerPort", "protocol"}, {"port", "protocol"}, {"topologyKey", "whenUnsatisfiable"}}

func keyed(item map[string]any) (elements []fieldpath.PathElement) {
	for _, names := range listKeys {
		var fields value.FieldList
		for _, n := range names {
			if v, ok := item[n]; ok {
				fields = append(fields, value.Field{Name: n, Value: value.NewValueInterface(v)})
			}
		}
		if len(fields) == len(names) {
			fields.Sort()
			elements = append(elements, fieldpath.PathElement{Key: &fields})
		}
	}
	return elements
}

func at(v any, keys []string) (any, bool) {
	for _, key := range keys {
		switch in := v.(type) {
		case map[string]any:
			next, ok := in[key]
			if !ok {
				return nil, false
			}
			v = next
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(in) {
				return nil, false
			}
			v = in[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// put replaces a field that is there.
func put(o map[string]any, keys []string, v any) {
	parent, _ := at(o, keys[:len(keys)-1])
	last := keys[len(keys)-1]
	switch in := parent.(type) {
	case map[string]any:
		in[last] = v
	case []any:
		if i, err := strconv.Atoi(last); err == nil {
			in[i] = v
		}
	}
}

// drop removes a field that is there. An element of a list is left: to take
// it out would move the others.
func drop(o map[string]any, keys []string) {
	parent, _ := at(o, keys[:len(keys)-1])
	if in, ok := parent.(map[string]any); ok {
		delete(in, keys[len(keys)-1])
	}
}
