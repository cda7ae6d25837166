package generators

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"

	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/providers"
)

// Defaults and alphabets of External Secrets Operator.
const (
	defaultLength  = 24
	defaultShare   = 4 // of the length, digits and symbols each
	defaultSymbols = "~!@#$%^&*()_+`-={}|[]\\:\"<>?,./"
	digits         = "0123456789"
	lower          = "abcdefghijklmnopqrstuvwxyz"
	upper          = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// maxLength bounds a password: far above what any service takes.
const maxLength = 4096

// passwords makes one password for each key.
func passwords(spec *genv1.PasswordSpec) (providers.Made, error) {
	keys := spec.SecretKeys
	if len(keys) == 0 {
		keys = []string{"password"}
	}
	values := make(map[string]providers.Value, len(keys))
	for i, key := range keys {
		if _, ok := values[key]; ok {
			return providers.Made{}, fmt.Errorf("spec.secretKeys[%d]: %w: %q is there already: remove one of them", i, ErrInvalid, key)
		}
		text, err := password(spec)
		if err == nil {
			text, err = encode(spec.Encoding, text)
		}
		if err != nil {
			return providers.Made{}, err
		}
		values[key] = providers.NewValue(text)
	}
	return providers.Made{Values: values}, nil
}

func password(spec *genv1.PasswordSpec) ([]byte, error) {
	length := spec.Length
	if length == 0 {
		length = defaultLength
	}
	share := func(n *int) int {
		if n == nil {
			return length / defaultShare
		}
		return *n
	}
	numbers, symbols := share(spec.Digits), share(spec.Symbols)
	letters := length - numbers - symbols
	if length < 1 || length > maxLength || numbers < 0 || symbols < 0 || letters < 0 {
		return nil, fmt.Errorf("spec.length: %w: %d characters, of which %d are digits and %d symbols: make it longer, or these fewer", ErrInvalid, length, numbers, symbols)
	}
	alphabet, signs := lower+upper, defaultSymbols
	if spec.NoUpper {
		alphabet = lower
	}
	if spec.SymbolCharacters != nil {
		signs = *spec.SymbolCharacters
	}
	var text []rune
	for _, part := range []struct {
		field, from string
		n           int
	}{{"length", alphabet, letters}, {"digits", digits, numbers}, {"symbols", signs, symbols}} {
		chosen, err := choose([]rune(part.from), part.n, spec.AllowRepeat)
		if err != nil {
			return nil, fmt.Errorf("spec.%s: %w", part.field, err)
		}
		text = append(text, chosen...)
	}
	shuffle(text)
	return []byte(string(text)), nil
}

// choose takes n characters by chance.
func choose(from []rune, n int, repeat bool) ([]rune, error) {
	if n > 0 && len(from) == 0 || !repeat && n > len(from) {
		return nil, fmt.Errorf("%w: %d characters are wanted of an alphabet of %d: set allowRepeat, or ask for fewer", ErrInvalid, n, len(from))
	}
	left := append([]rune{}, from...)
	chosen := make([]rune, 0, n)
	for range n {
		i := below(len(left))
		chosen = append(chosen, left[i])
		if !repeat {
			left = append(left[:i], left[i+1:]...)
		}
	}
	return chosen, nil
}

func shuffle(text []rune) {
	for i := len(text) - 1; i > 0; i-- {
		j := below(i + 1)
		text[i], text[j] = text[j], text[i]
	}
}

// below is a random number from 0 to n-1, each as likely.
func below(n int) int {
	i, err := rand.Int(rand.Reader, big.NewInt(int64(n)))
	if err != nil {
		panic(err) // crypto/rand never fails
	}
	return int(i.Int64())
}

func encode(encoding *string, text []byte) ([]byte, error) {
	name := ""
	if encoding != nil {
		name = *encoding
	}
	switch name {
	case "", "raw":
		return text, nil
	case "base64":
		return []byte(base64.StdEncoding.EncodeToString(text)), nil
	case "base64url":
		return []byte(base64.URLEncoding.EncodeToString(text)), nil
	case "base32":
		return []byte(base32.StdEncoding.EncodeToString(text)), nil
	case "hex":
		return []byte(hex.EncodeToString(text)), nil
	default:
		return nil, fmt.Errorf("spec.encoding: %w: %q is none of raw, base64, base64url, base32 and hex", ErrInvalid, name)
	}
}

// uuid is a random one, of version 4. Source: RFC 9562, section 5.4.
func uuid() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // it never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
