package kubernetes

import (
	"maps"
	"slices"
)

// object writes the keys of a Secret as a JSON object. Bytes that are no UTF-8
// stay as they are: a JSON string has no other place for them, and whoever
// picks a key gets exactly what the Secret holds.
func object(data map[string][]byte) []byte {
	out := []byte{'{'}
	for i, key := range slices.Sorted(maps.Keys(data)) {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(quote(out, []byte(key)), ':')
		out = quote(out, data[key])
	}
	return append(out, '}')
}

const hex = "0123456789abcdef"

// quote escapes what a JSON string must not have, and nothing else.
func quote(out, text []byte) []byte {
	out = append(out, '"')
	for _, b := range text {
		switch {
		case b == '"' || b == '\\':
			out = append(out, '\\', b)
		case b < ' ':
			out = append(out, '\\', 'u', '0', '0', hex[b>>4], hex[b&0xf])
		default:
			out = append(out, b)
		}
	}
	return append(out, '"')
}
