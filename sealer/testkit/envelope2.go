package testkit

import (
	"bytes"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"golang.org/x/tools/txtar"
)

// Vector2 is one scenario of envelope 2. A file has these sections:
//
//	place          scope, namespace, name of the Secret and of the item, a word
//	               each; "-" is empty
//	keys           names of the private keys that the opener has, in keys/
//	sealed         the sealed text, followed by a line end that is not part of
//	               it; or sealed-base64, where it has characters of its own that
//	               do not survive an editor
//	plaintext      the value in base64; only if it opens
//
// The keys are worthless: they are published here.
type Vector2 struct {
	Name      string // of the file, without folder and ending
	About     string // what it shows, for people
	Expect    string // one of the classes of Expects2
	Scope     string
	Namespace string
	Secret    string
	Item      string
	Keys      []Key2
	Sealed    string
	Plaintext []byte // nil unless Expect is ExpectOK
}

// Key2 is a private key.
type Key2 struct {
	PEM     []byte
	Seed    []byte // what the block holds: 32 bytes
	Cluster []byte // what its header says: 16 bytes
}

// Expects2 returns the classes of outcome, as the expect line spells them.
func Expects2() []string {
	return []string{ExpectOK, ExpectFormat, "scope", "namespace", "name", "item", "cluster", "unknown key", ExpectTamper}
}

//go:embed envelope2/*.txtar envelope2/keys/*.pem
var files2 embed.FS

// Vectors2 returns every vector of envelope 2, as Vectors those of envelope 1.
func Vectors2() ([]Vector2, error) {
	names, err := fs.Glob(files2, "envelope2/*.txtar")
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, errors.New("testkit: no vectors of envelope 2")
	}
	var vectors []Vector2
	for _, name := range names {
		data, err := files2.ReadFile(name)
		if err != nil {
			return nil, err
		}
		v, err := parse2(data)
		if err != nil {
			return nil, fmt.Errorf("testkit: %s: %w", name, err)
		}
		v.Name = strings.TrimSuffix(path.Base(name), ".txtar")
		vectors = append(vectors, v)
	}
	return vectors, nil
}

func parse2(data []byte) (Vector2, error) {
	archive := txtar.Parse(data)
	first, about, _ := strings.Cut(string(archive.Comment), "\n")
	expect, ok := strings.CutPrefix(first, "expect: ")
	if !ok || !slices.Contains(Expects2(), expect) {
		return Vector2{}, fmt.Errorf("first line is %q: want \"expect: CLASS\"", first)
	}
	v := Vector2{Expect: expect, About: strings.TrimSpace(about)}
	seen := map[string]bool{}
	for _, f := range archive.Files {
		name := strings.TrimSuffix(f.Name, "-base64")
		if seen[name] {
			return Vector2{}, fmt.Errorf("two sections %q", name)
		}
		seen[name] = true
		if err := v.section(f.Name, bytes.TrimSuffix(f.Data, []byte("\n"))); err != nil {
			return Vector2{}, fmt.Errorf("section %q: %w", f.Name, err)
		}
	}
	for _, name := range []string{"place", "keys", "sealed"} {
		if !seen[name] {
			return Vector2{}, fmt.Errorf("no section %q", name)
		}
	}
	if seen["plaintext"] != (expect == ExpectOK) {
		return Vector2{}, errors.New("a plaintext belongs to what opens, and to nothing else")
	}
	return v, nil
}

func (v *Vector2) section(name string, data []byte) (err error) {
	switch name {
	case "place":
		words := strings.Fields(string(data))
		if len(words) != 4 {
			return errors.New("want scope, namespace, name and item")
		}
		v.Scope, v.Namespace, v.Secret, v.Item = words[0], empty(words[1]), empty(words[2]), empty(words[3])
	case "keys":
		for name := range strings.FieldsSeq(string(data)) {
			key, err := readKey2(name)
			if err != nil {
				return err
			}
			v.Keys = append(v.Keys, key)
		}
	case "sealed":
		v.Sealed = string(data)
	case "sealed-base64":
		var text []byte
		text, err = decode(data)
		v.Sealed = string(text)
	case "plaintext":
		v.Plaintext, err = base64.StdEncoding.DecodeString(string(data))
	default:
		err = errors.New("unknown")
	}
	return err
}

func readKey2(name string) (Key2, error) {
	data, err := files2.ReadFile("envelope2/keys/" + name + ".pem")
	if err != nil {
		return Key2{}, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return Key2{}, fmt.Errorf("key %q is no PEM", name)
	}
	cluster, err := hex.DecodeString(block.Headers["Cluster"])
	if err != nil {
		return Key2{}, fmt.Errorf("key %q: %w", name, err)
	}
	return Key2{PEM: data, Seed: block.Bytes, Cluster: cluster}, nil
}
