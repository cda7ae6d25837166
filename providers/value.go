package providers

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
)

// Value is a secret. It prints as "[secret]" with every verb and refuses to be
// encoded, so that it cannot leak by accident; only Bytes gives it away. The
// zero Value is empty.
type Value struct {
	// A closure, because fmt prints unexported fields without asking Format:
	// a slice, and even a pointer to one, would spill its bytes. It also makes
	// == on two Values a compile error.
	reveal func() []byte
}

// NewValue takes ownership of b.
func NewValue(b []byte) Value { return Value{func() []byte { return b }} }

// Bytes returns the secret itself, not a copy.
func (v Value) Bytes() []byte {
	if v.reveal == nil {
		return nil
	}
	return v.reveal()
}

// Equal reports whether v and w hold the same bytes, in constant time.
func (v Value) Equal(w Value) bool { return subtle.ConstantTimeCompare(v.Bytes(), w.Bytes()) == 1 }

// Format implements fmt.Formatter.
func (Value) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "[secret]") }

// MarshalText always fails: an encoded "[secret]" could end up stored as if it
// were the value.
func (Value) MarshalText() ([]byte, error) {
	return nil, errors.New("providers: a Value cannot be encoded; call Bytes")
}
