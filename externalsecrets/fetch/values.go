package fetch

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// Values makes the values of what was read: those of dataFrom in order, then
// those of data; what comes later wins. With skipMissing, a secret that the
// store does not have is left out; otherwise it is an error.
func (p *Plan) Values(results map[Read]Result, skipMissing bool) (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, i := range p.items {
		values, err := i.values(results[i.read])
		if skipMissing && errors.Is(err, providers.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		maps.Copy(out, values)
	}
	return out, nil
}

func (i *item) values(result Result) (map[string][]byte, error) {
	if result.Err != nil {
		return nil, i.explain(result.Err)
	}
	made, err := i.raw(result)
	if err != nil {
		return nil, err
	}
	if i.key == "" {
		if made, err = i.keys(made); err != nil {
			return nil, err
		}
	}
	for key, value := range made {
		decoded, err := i.finish(value)
		if err != nil {
			return nil, fmt.Errorf("%s: the value of key %q: %w", i.field, key, err)
		}
		made[key] = decoded
	}
	return made, nil
}

// raw takes the values out of a result, with the names that they have there.
func (i *item) raw(result Result) (map[string][]byte, error) {
	if result.Values != nil {
		made := make(map[string][]byte, len(result.Values))
		for name, value := range result.Values {
			made[name] = value.Bytes()
		}
		return made, nil
	}
	value := result.Value.Bytes()
	if i.ref.Property != "" {
		var err error
		if value, err = property(value, i.ref.Property); err != nil {
			return nil, fmt.Errorf("%s.property: %w in secret %s of %s %q: correct the property, or add it there", i.field, err, i.read, i.read.Store.Kind, i.read.Store.Name)
		}
	}
	if i.key != "" {
		return map[string][]byte{i.key: value}, nil
	}
	return i.extract(value)
}

// keys turns names into keys of a Secret: by the steps of the spec, or else by
// its conversion strategy.
func (i *item) keys(in map[string][]byte) (map[string][]byte, error) {
	for n, s := range i.steps {
		var err error
		if in, err = s(in); err != nil {
			return nil, fmt.Errorf("%s: step %d of rewrite: %w", i.field, n, err)
		}
	}
	out, from := make(map[string][]byte, len(in)), map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(in)) {
		key := name
		if len(i.steps) == 0 {
			key = convert(name, i.ref.ConversionStrategy)
		}
		if other, ok := from[key]; ok {
			return nil, fmt.Errorf("%s: %w: keys %q and %q both become %q: set conversionStrategy: Unicode, or rename one", i.field, ErrMalformed, other, name, key)
		}
		switch {
		case key == "": // no Secret can have it; External Secrets Operator drops it, too
			continue
		case len(key) > maxKey:
			return nil, fmt.Errorf("%s: %w: key %q is longer than the %d bytes that a Secret allows: rename it", i.field, ErrMalformed, key, maxKey)
		case convert(key, "") != key:
			return nil, fmt.Errorf("%s: %w: key %q has characters that a Secret does not allow, after rewrite: let it make letters, digits, '-', '_' and '.' only", i.field, ErrMalformed, key)
		}
		out[key], from[key] = in[name], name
	}
	return out, nil
}

// maxKey is the longest key of a Secret, in bytes.
const maxKey = 253

// explain says which field could not be read, and what to do about it.
func (i *item) explain(err error) error {
	if i.read.Generator.Kind != "" {
		return fmt.Errorf("%s: %w", i.field, err)
	}
	store := fmt.Sprintf("%s %q", i.read.Store.Kind, i.read.Store.Name)
	switch {
	case errors.Is(err, providers.ErrNotFound):
		return fmt.Errorf("%s.key: %s has no secret %s: create it there, or correct the key: %w", i.field, store, i.read, err)
	case errors.Is(err, providers.ErrDenied):
		return fmt.Errorf("%s.key: %s does not let us read secret %s: give the identity of the store the right to: %w", i.field, store, i.read, err)
	case errors.Is(err, providers.ErrThrottled):
		return fmt.Errorf("%s.key: %s asks to wait before secret %s is read; this happens by itself: %w", i.field, store, i.read, err)
	case errors.Is(err, providers.ErrUnavailable):
		return fmt.Errorf("%s.key: %s cannot be reached for secret %s: see that it runs and is unsealed; it is tried again by itself: %w", i.field, store, i.read, err)
	default:
		return fmt.Errorf("%s: secret %s of %s: %w", i.field, i.read, store, err)
	}
}

// property picks out of a JSON object: first the key of exactly that name,
// whatever characters it has, then a path in gjson's syntax.
func property(value []byte, name string) ([]byte, error) {
	if !gjson.ValidBytes(value) {
		return nil, fmt.Errorf("%w: the value is not JSON, so there is no %q", ErrMalformed, name)
	}
	found := gjson.Result{}
	if parsed := gjson.ParseBytes(value); parsed.IsObject() {
		parsed.ForEach(func(key, value gjson.Result) bool {
			if key.String() == name {
				found = value
			}
			return true
		})
	}
	if !found.Exists() {
		found = gjson.GetBytes(value, name)
	}
	if !found.Exists() {
		return nil, fmt.Errorf("%w %q", ErrNoProperty, name)
	}
	return text(found), nil
}

// text is a JSON value as a Secret holds it: a string without its quotes, null
// as nothing, anything else as it is spelled.
func text(r gjson.Result) []byte {
	switch r.Type {
	case gjson.String:
		return []byte(r.String())
	case gjson.Null:
		return []byte{}
	default:
		return []byte(r.Raw)
	}
}

// extract takes every key of a JSON object.
func (i *item) extract(value []byte) (map[string][]byte, error) {
	parsed := gjson.ParseBytes(value)
	if !gjson.ValidBytes(value) || !parsed.IsObject() {
		return nil, fmt.Errorf("%s: %w: secret %s is not a JSON object: use data to take it as a whole", i.field, ErrMalformed, i.read)
	}
	out := map[string][]byte{}
	parsed.ForEach(func(name, value gjson.Result) bool {
		out[name.String()] = text(value)
		return true
	})
	return out, nil
}

// convert replaces the characters that a key of a Secret must not have.
func convert(name, strategy string) string {
	var b strings.Builder
	for _, r := range name {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
			b.WriteRune(r)
		case strategy == esv1.ConversionUnicode:
			fmt.Fprintf(&b, "_U%04x_", r)
		default:
			b.WriteByte('_')
		}
	}
	return b.String()
}

// finish decodes a value, and refuses what the spec does not want.
func (i *item) finish(value []byte) ([]byte, error) {
	decoded, err := Decode(i.ref.DecodingStrategy, value)
	if err != nil {
		return nil, err
	}
	if i.ref.NullBytePolicy == esv1.NullByteFail && bytes.IndexByte(decoded, 0) >= 0 {
		return nil, fmt.Errorf("%w: it has a zero byte, which nullBytePolicy refuses", ErrMalformed)
	}
	return decoded, nil
}
