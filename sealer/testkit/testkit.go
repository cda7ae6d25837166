// Package testkit holds vectors of sealed values, usable by any
// implementation: one scenario per file, in the txtar form.
//
// A file begins with a line "expect: CLASS" and says what it is about. Its
// sections are:
//
//	binding     scope, namespace and name, a word each; "-" is empty
//	key         name of the private key, in keys/: PKCS #1 DER in base64
//	sealed      the sealed value in base64, as in spec.encryptedData
//	plaintext   the value in base64; only if it opens
//
// Of a large value that opens there is a recipe in the place of the last two:
//
//	plaintext-recipe  seed, length in bytes, and SHA-256 in hex: the beginning
//	                  of SHA-256(seed || 0) || SHA-256(seed || 1) || ..., with
//	                  numbers of eight bytes, big-endian
//	sealed-head       the sealed value up to and with the wrapped session key,
//	                  in base64; the rest follows from it, the key and the value
//	sealed-sha256     SHA-256 of the whole sealed value in hex
//
// Those that open were sealed by kubeseal v0.36.6 (--raw), and each of the
// others is one of them with one thing changed, or was made with one thing
// wrong. tools/vectors makes them again. The keys are worthless: they are
// published here.
package testkit

import (
	"bytes"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/tools/txtar"
)

// Classes of outcome, as the expect line spells them.
const (
	ExpectOK     = "ok"     // it opens
	ExpectFormat = "format" // it is not a sealed value
	ExpectNoKey  = "no key" // no key opens it for this binding
	ExpectTamper = "tamper" // the key opens it, and it was changed
)

// Vector is one scenario.
type Vector struct {
	Name       string // of the file, without folder and ending
	About      string // what it shows, for people
	Expect     string // one of the classes above
	Scope      string
	Namespace  string
	SecretName string
	Key        []byte // PKCS #1 DER
	Sealed     []byte // decoded
	Plaintext  []byte // decoded; nil unless Expect is ExpectOK
}

//go:embed vectors/*.txtar keys/*.b64
var files embed.FS

// Vectors returns every vector. It fails if there are none, or if one has a
// section that this package does not know: a typo must not become a skipped
// check.
func Vectors() ([]Vector, error) {
	names, err := fs.Glob(files, "vectors/*.txtar")
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, errors.New("testkit: no vectors")
	}
	var vectors []Vector
	for _, name := range names {
		data, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		v, err := parse(data)
		if err != nil {
			return nil, fmt.Errorf("testkit: %s: %w", name, err)
		}
		v.Name = strings.TrimSuffix(path.Base(name), ".txtar")
		vectors = append(vectors, v)
	}
	return vectors, nil
}

func parse(data []byte) (Vector, error) {
	archive := txtar.Parse(data)
	first, about, _ := strings.Cut(string(archive.Comment), "\n")
	expect, ok := strings.CutPrefix(first, "expect: ")
	if !ok {
		return Vector{}, fmt.Errorf("first line is %q: want \"expect: CLASS\"", first)
	}
	v := Vector{Expect: expect, About: strings.TrimSpace(about)}
	seen := map[string]bool{}
	for _, f := range archive.Files {
		if seen[f.Name] {
			return Vector{}, fmt.Errorf("two sections %q", f.Name)
		}
		seen[f.Name] = true
		if err := v.section(f.Name, bytes.TrimSpace(f.Data)); err != nil {
			return Vector{}, fmt.Errorf("section %q: %w", f.Name, err)
		}
	}
	if seen["sealed-head"] {
		if err := v.cook(archive); err != nil {
			return Vector{}, err
		}
		seen["sealed"], seen["plaintext"] = true, true
	}
	for _, name := range []string{"binding", "key", "sealed"} {
		if !seen[name] {
			return Vector{}, fmt.Errorf("no section %q", name)
		}
	}
	if seen["plaintext"] != (expect == ExpectOK) {
		return Vector{}, errors.New("a plaintext belongs to what opens, and to nothing else")
	}
	return v, v.check()
}

func (v *Vector) section(name string, data []byte) (err error) {
	switch name {
	case "binding":
		words := strings.Fields(string(data))
		if len(words) != 3 {
			return errors.New("want scope, namespace and name")
		}
		v.Scope, v.Namespace, v.SecretName = words[0], empty(words[1]), empty(words[2])
	case "key":
		v.Key, err = readKey(string(data))
	case "sealed":
		v.Sealed, err = decode(data)
	case "plaintext":
		v.Plaintext, err = decode(data)
	case "sealed-head", "sealed-sha256", "plaintext-recipe": // see cook
	default:
		err = errors.New("unknown")
	}
	return err
}

func (v *Vector) check() error {
	switch v.Expect {
	case ExpectOK, ExpectFormat, ExpectNoKey, ExpectTamper:
		return nil
	default:
		return fmt.Errorf("unknown class %q", v.Expect)
	}
}

func empty(word string) string {
	if word == "-" {
		return ""
	}
	return word
}

func readKey(name string) ([]byte, error) {
	data, err := files.ReadFile("keys/" + name + ".b64")
	if err != nil {
		return nil, err
	}
	return decode(data)
}

// decode reads base64 that may be broken into lines.
func decode(data []byte) ([]byte, error) {
	out := make([]byte, 0, base64.StdEncoding.DecodedLen(len(data)))
	return base64.StdEncoding.AppendDecode(out, bytes.Join(bytes.Fields(data), nil))
}
