package push

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/labels"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	esv1alpha1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1alpha1"
	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/providers"
)

// errNoKey says that the Secret has not what is to be pushed.
var errNoKey = errors.New("no such key")

// entry is one value and its place in a store.
type entry struct {
	field string // path in the PushSecret, for errors
	data  esv1alpha1.PushSecretData
	value providers.Value
}

// place names an entry in the status, as External Secrets Operator does.
func place(ref esv1alpha1.PushSecretRemoteRef) string {
	if ref.Property != "" {
		return ref.RemoteKey + "/" + ref.Property
	}
	return ref.RemoteKey
}

// storeObject is what entries want to know of a store.
type storeObject struct {
	ref    esv1.SecretStoreRef
	labels map[string]string
	field  string // path in the PushSecret that chose it, for errors
}

// entries are values by their place in a store.
type entries map[string]entry

// add refuses a second value for a place.
func (all entries) add(more ...entry) error {
	for _, e := range more {
		at := place(e.data.Match.RemoteRef)
		if other, ok := all[at]; ok {
			return fmt.Errorf("%s: %w: %q is written by %s already: remove one of them", e.field, providers.ErrInvalid, at, other.field)
		}
		all[at] = e
	}
	return nil
}

// entriesFor are the values that spec wants in a store, by place.
func entriesFor(spec *esv1alpha1.PushSecretSpec, store storeObject, values map[string][]byte) (entries, error) {
	all := entries{}
	for i := range spec.DataTo {
		found, err := dataTo(fmt.Sprintf("spec.dataTo[%d]", i), &spec.DataTo[i], store, values)
		if err != nil {
			return nil, err
		}
		if err := all.add(found...); err != nil {
			return nil, err
		}
	}
	for i := range spec.Data {
		d := spec.Data[i]
		field := fmt.Sprintf("spec.data[%d].match", i)
		value, err := pick(field, d, values)
		if err != nil {
			return nil, err
		}
		if at := place(d.Match.RemoteRef); strings.HasPrefix(all[at].field, "spec.dataTo") {
			delete(all, at) // data says it more exactly than dataTo
		}
		if err := all.add(entry{field: field, data: d, value: value}); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// pick takes the value of one entry of data.
func pick(field string, d esv1alpha1.PushSecretData, values map[string][]byte) (providers.Value, error) {
	converted, err := reverse(field, d.ConversionStrategy, values)
	if err != nil {
		return providers.Value{}, err
	}
	if d.Match.SecretKey == "" {
		return bundle(field, converted)
	}
	value, ok := converted[d.Match.SecretKey]
	if !ok {
		return providers.Value{}, fmt.Errorf("%s.secretKey: %w: the Secret has no %q: add it, or correct the key", field, errNoKey, d.Match.SecretKey)
	}
	return providers.NewValue(value), nil
}

// dataTo makes the entries of a set of values, if it is for store.
func dataTo(field string, d *esv1alpha1.PushSecretDataTo, store storeObject, values map[string][]byte) ([]entry, error) {
	if d.StoreRef == nil || d.StoreRef.Name == "" && d.StoreRef.LabelSelector == nil {
		return nil, fmt.Errorf("%s.storeRef: %w: set name or labelSelector", field, providers.ErrInvalid)
	}
	if fits, err := chooses(field+".storeRef", d.StoreRef, store); err != nil || !fits {
		return nil, err
	}
	values, err := matching(field, d.Match, values)
	if err != nil {
		return nil, err
	}
	if values, err = reverse(field, d.ConversionStrategy, values); err != nil {
		return nil, err
	}
	if values, err = fetch.Rewrite(field, d.Rewrite, values); err != nil {
		return nil, err
	}
	made := func(key string, value providers.Value) entry {
		return entry{field: field, value: value, data: esv1alpha1.PushSecretData{
			Match: esv1alpha1.PushSecretMatch{RemoteRef: esv1alpha1.PushSecretRemoteRef{RemoteKey: key}}, Metadata: d.Metadata, ConversionStrategy: d.ConversionStrategy,
		}}
	}
	if d.RemoteKey != "" {
		value, err := bundle(field, values)
		return []entry{made(d.RemoteKey, value)}, err
	}
	var all []entry
	for _, key := range slices.Sorted(maps.Keys(values)) {
		e := made(key, providers.NewValue(values[key]))
		e.data.Match.SecretKey = key
		all = append(all, e)
	}
	return all, nil
}

// unused refuses a dataTo for a store that is none of all, as External Secrets
// Operator does, and returns the fields of those that choose none of all by
// label, which it passes over without a word.
func unused(spec *esv1alpha1.PushSecretSpec, all []storeObject) (fields []string, err error) {
	for i := range spec.DataTo {
		ref, field := spec.DataTo[i].StoreRef, fmt.Sprintf("spec.dataTo[%d].storeRef", i)
		if ref == nil {
			continue // which is refused when the entries are made
		}
		fits := false
		for _, store := range all {
			one, err := chooses(field, ref, store)
			if err != nil {
				return nil, err
			}
			fits = fits || one
		}
		switch {
		case fits:
		case ref.Name != "":
			return nil, fmt.Errorf("%s.name: %w: spec.secretStoreRefs do not choose %s %q: add it there, or correct the name", field, providers.ErrInvalid, kindOf(ref), ref.Name)
		case ref.LabelSelector != nil:
			fields = append(fields, field+".labelSelector")
		}
	}
	return fields, nil
}

func kindOf(ref *esv1alpha1.PushSecretStoreRef) string {
	return cmp.Or(ref.Kind, esv1.SecretStoreKind)
}

// chooses reports whether a reference means store.
func chooses(field string, ref *esv1alpha1.PushSecretStoreRef, store storeObject) (bool, error) {
	if kindOf(ref) != store.ref.Kind {
		return false, nil
	}
	if ref.Name != "" {
		return ref.Name == store.ref.Name, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(ref.LabelSelector)
	if err != nil {
		return false, fmt.Errorf("%s.labelSelector: %w: it is not a selector: correct it", field, providers.ErrInvalid)
	}
	return selector.Matches(labels.Set(store.labels)), nil
}

func matching(field string, match *esv1alpha1.PushSecretDataToMatch, values map[string][]byte) (map[string][]byte, error) {
	if match == nil || match.RegExp == "" {
		return values, nil
	}
	re, err := regexp.Compile(match.RegExp)
	if err != nil {
		return nil, fmt.Errorf("%s.match.regexp: %w: it is not a regular expression: correct it", field, providers.ErrInvalid)
	}
	out := map[string][]byte{}
	for key, value := range values {
		if re.MatchString(key) {
			out[key] = value
		}
	}
	return out, nil
}

// escape is a character as conversionStrategy Unicode of ExternalSecrets
// writes it.
var escape = regexp.MustCompile(`_U([0-9a-fA-F]{4,5})_`)

// reverse turns escapes in keys back into characters.
func reverse(field, strategy string, values map[string][]byte) (map[string][]byte, error) {
	if strategy != esv1alpha1.ConversionReverseUnicode {
		return values, nil
	}
	out := make(map[string][]byte, len(values))
	for _, key := range slices.Sorted(maps.Keys(values)) {
		name := escape.ReplaceAllStringFunc(key, func(s string) string {
			code, err := strconv.ParseInt(escape.FindStringSubmatch(s)[1], 16, 32)
			if err != nil {
				return s
			}
			return string(rune(code))
		})
		if _, ok := out[name]; ok {
			return nil, fmt.Errorf("%s.conversionStrategy: %w: two keys become %q: rename one", field, providers.ErrInvalid, name)
		}
		out[name] = values[key]
	}
	return out, nil
}

// bundle is a JSON object of all values.
func bundle(field string, values map[string][]byte) (providers.Value, error) {
	object := make(map[string]string, len(values))
	for key, value := range values {
		if !utf8.Valid(value) {
			return providers.Value{}, fmt.Errorf("%s: %w: the value of key %q is not text, which a JSON object cannot hold: push it by its own key", field, providers.ErrInvalid, key)
		}
		object[key] = string(value)
	}
	var buffer bytes.Buffer
	e := json.NewEncoder(&buffer)
	e.SetEscapeHTML(false)
	if err := e.Encode(object); err != nil {
		return providers.Value{}, fmt.Errorf("%s: %w: it cannot be written as JSON", field, providers.ErrInvalid)
	}
	return providers.NewValue(bytes.TrimSuffix(buffer.Bytes(), []byte("\n"))), nil
}
