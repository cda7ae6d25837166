package providers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// strictly decodes JSON whose every field out has.
func strictly(raw []byte, out any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	return d.Decode(out) //nolint:wrapcheck // the caller says it in words of its own: the text may hold what was decoded
}

// object is a JSON object whose values are kept as they are spelled.
type object = map[string]json.RawMessage

// SetProperty returns the JSON object of old with v at property, whose parts
// are separated by dots; a dot in a name has a backslash in front. old may be
// empty. v is put in as a string.
func SetProperty(old Value, property string, v Value) (Value, error) {
	if !utf8.Valid(v.Bytes()) {
		return Value{}, fmt.Errorf("property %q: %w: the value is not text, which a JSON object cannot hold", property, ErrInvalid)
	}
	text, err := encode(string(v.Bytes()))
	if err != nil {
		return Value{}, fmt.Errorf("property %q: %w: the value is not text", property, ErrInvalid)
	}
	return edit(old, property, text)
}

// RemoveProperty returns the JSON object of old without property. empty is
// whether nothing is left.
func RemoveProperty(old Value, property string) (rest Value, empty bool, err error) {
	rest, err = edit(old, property, nil)
	return rest, err == nil && string(rest.Bytes()) == "{}", err
}

func edit(old Value, property string, text json.RawMessage) (Value, error) {
	raw, err := editObject(old.Bytes(), parts(property), text)
	if err != nil {
		return Value{}, fmt.Errorf("property %q: %w", property, err)
	}
	return NewValue(raw), nil
}

// editObject sets, or with a nil text removes, what path leads to.
func editObject(raw []byte, path []string, text json.RawMessage) ([]byte, error) {
	o := object{}
	if len(bytes.TrimSpace(raw)) > 0 {
		if err := json.Unmarshal(raw, &o); err != nil || o == nil {
			// The error of the decoder may hold a part of the value.
			return nil, fmt.Errorf("%w: what the store holds is no JSON object, so it has no properties", ErrInvalid)
		}
	}
	next, there := o[path[0]]
	switch {
	case len(path) == 1 && text == nil, text == nil && !there:
		delete(o, path[0])
	case len(path) == 1:
		o[path[0]] = text
	default:
		inner, err := editObject(next, path[1:], text)
		if err != nil {
			return nil, err
		}
		o[path[0]] = inner
	}
	return encode(o)
}

// encode writes JSON without escapes that the value has no need of.
func encode(v any) ([]byte, error) {
	out := &bytes.Buffer{}
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("%w: it cannot be written as JSON", ErrInvalid)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// parts splits a property at its dots, except those behind a backslash.
func parts(property string) []string {
	const dot = "\x00"
	split := strings.Split(strings.ReplaceAll(property, `\.`, dot), ".")
	for i := range split {
		split[i] = strings.ReplaceAll(split[i], dot, ".")
	}
	return split
}
