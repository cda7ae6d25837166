package fetch

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
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
	value := result.Value.Bytes()
	if i.ref.Property != "" {
		var err error
		if value, err = property(value, i.ref.Property); err != nil {
			return nil, fmt.Errorf("%s.property: %w in secret %s of %s %q: correct the property, or add it there", i.field, err, i.read, i.read.Store.Kind, i.read.Store.Name)
		}
	}
	made := map[string][]byte{i.key: value}
	if i.key == "" {
		var err error
		if made, err = i.extract(value); err != nil {
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

// explain says which field could not be read, and what to do about it.
func (i *item) explain(err error) error {
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
	out, from := map[string][]byte{}, map[string]string{}
	var err error
	parsed.ForEach(func(name, value gjson.Result) bool {
		if name.String() == "" {
			return true // no Secret can have it; External Secrets Operator drops it, too
		}
		key := convert(name.String(), i.ref.ConversionStrategy)
		if other, ok := from[key]; ok && other != name.String() {
			err = fmt.Errorf("%s: %w: keys %q and %q both become %q: set conversionStrategy: Unicode, or rename one", i.field, ErrMalformed, other, name.String(), key)
			return false
		}
		if len(key) > 253 {
			err = fmt.Errorf("%s: %w: key %q is longer than the 253 bytes that a Secret allows: rename it", i.field, ErrMalformed, key)
			return false
		}
		out[key], from[key] = text(value), name.String()
		return true
	})
	return out, err
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
