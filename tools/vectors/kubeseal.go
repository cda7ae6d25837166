package main

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// folder1 is where the keys and vectors of envelope 1 are, from the root of the
// repository.
const folder1 = "sealer/testkit"

// line is how many characters of base64 stand in a line.
const line = 100

// place1 is where a value of envelope 1 is sealed for: the scope as kubeseal
// spells it.
type place1 struct{ scope, namespace, name string }

func (p place1) String() string {
	words := []string{p.scope, p.namespace, p.name}
	for i, w := range words {
		if w == "" {
			words[i] = "-"
		}
	}
	return strings.Join(words, " ")
}

func (p place1) label() []byte {
	return []byte(map[string]string{"strict": p.namespace + "/" + p.name, "namespace-wide": p.namespace, "cluster-wide": ""}[p.scope])
}

// set1 are the vectors of envelope 1, as files by name.
type set1 struct {
	folder   string
	kubeseal []string // command
	keys     map[string]*rsa.PrivateKey
	certs    string // folder with the certificates
	files    map[string]string
}

// sizes are the names of the keys, and their bits.
var sizes = map[string]int{"a-2048": 2048, "b-2048": 2048, "c-3072": 3072, "d-4096": 4096}

// newSet1 makes every vector, with the keys of a folder or new ones.
func newSet1(folder, kubeseal string) *set1 {
	s := &set1{folder: folder, kubeseal: []string{kubeseal}, keys: map[string]*rsa.PrivateKey{}, files: map[string]string{}}
	if kubeseal == "" {
		s.kubeseal = []string{"go", "tool", "-modfile=tools/kubeseal/go.mod", "kubeseal"}
	}
	var err error
	s.certs, err = os.MkdirTemp("", "vectors")
	check(err)
	defer func() { check(os.RemoveAll(s.certs)) }()
	for name, bits := range sizes {
		s.keys[name] = s.key(name, bits)
		check(os.WriteFile(filepath.Join(s.certs, name), certificate(s.keys[name]), 0o600))
	}
	s.matrix()
	s.labels()
	s.borders()
	s.others()
	return s
}

// key reads a key, or makes it if there is none.
func (s *set1) key(name string, bits int) *rsa.PrivateKey {
	text, err := os.ReadFile(filepath.Join(s.folder, "keys", name+".b64"))
	if errors.Is(err, fs.ErrNotExist) {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		check(err)
		return key
	}
	check(err)
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	check(err)
	key, err := x509.ParsePKCS1PrivateKey(der)
	check(err)
	return key
}

func certificate(key *rsa.PrivateKey) []byte {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	check(err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// seal has the genuine kubeseal seal a value.
func (s *set1) seal(key string, p place1, value []byte) []byte {
	args := append(slices.Clone(s.kubeseal[1:]), "--raw", "--cert", filepath.Join(s.certs, key), "--scope", p.scope, "--namespace", p.namespace)
	if p.name != "" {
		args = append(args, "--name", p.name)
	}
	cmd := exec.Command(s.kubeseal[0], args...)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(value), os.Stderr
	out, err := cmd.Output()
	check(err)
	sealed, err := base64.StdEncoding.DecodeString(string(out))
	check(err)
	return sealed
}

// vector1 is one scenario.
type vector1 struct {
	name, about string
	expect      string // "" is whatever the standard library makes of it
	at          place1
	key         string
	sealed      []byte
	recipe      string // of a large value: its seed
}

// add writes a vector down, after the standard library had a look at it: what
// comes out has to be what was meant.
func (s *set1) add(v vector1) {
	value, class := read(s.keys[v.key], v.at, v.sealed)
	if v.expect != "" && v.expect != class || s.files[v.name] != "" {
		panic(fmt.Sprintf("%s: it is %q, and %q was meant; or it is there twice", v.name, class, v.expect))
	}
	var out strings.Builder
	fmt.Fprintf(&out, "expect: %s\n%s\n-- binding --\n%v\n-- key --\n%s\n", class, v.about, v.at, v.key)
	switch {
	case v.recipe != "":
		head := 2 + int(binary.BigEndian.Uint16(v.sealed))
		fmt.Fprintf(&out, "-- sealed-head --\n%s-- sealed-sha256 --\n%x\n", wrapped(v.sealed[:head]), sha256.Sum256(v.sealed))
		fmt.Fprintf(&out, "-- plaintext-recipe --\n%s %d %x\n", v.recipe, len(value), sha256.Sum256(value))
	case class == "ok":
		fmt.Fprintf(&out, "-- sealed --\n%s-- plaintext --\n%s", wrapped(v.sealed), wrapped(value))
	default:
		fmt.Fprintf(&out, "-- sealed --\n%s", wrapped(v.sealed))
	}
	s.files[v.name] = out.String()
}

// wrapped spells bytes in lines of base64.
func wrapped(data []byte) string {
	text := base64.StdEncoding.EncodeToString(data)
	var out strings.Builder
	for len(text) > line {
		out.WriteString(text[:line] + "\n")
		text = text[line:]
	}
	return out.String() + text + "\n"
}

// save writes the keys and the vectors, and removes other vectors.
func (s *set1) save() {
	check(os.MkdirAll(filepath.Join(s.folder, "keys"), 0o755))
	for name, key := range s.keys {
		check(os.WriteFile(filepath.Join(s.folder, "keys", name+".b64"), []byte(wrapped(x509.MarshalPKCS1PrivateKey(key))), 0o644))
	}
	vectors := filepath.Join(s.folder, "vectors")
	check(os.RemoveAll(vectors))
	check(os.MkdirAll(vectors, 0o755))
	for name, text := range s.files {
		check(os.WriteFile(filepath.Join(vectors, name+".txtar"), []byte(text), 0o644))
	}
	fmt.Println(len(s.files), "vectors in", vectors)
}

// compare returns how the files of the folder differ in shape from the vectors.
func (s *set1) compare() []string {
	paths, err := filepath.Glob(filepath.Join(s.folder, "vectors", "*.txtar"))
	check(err)
	there := map[string]bool{}
	var different []string
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".txtar")
		there[name] = true
		text, err := os.ReadFile(path)
		check(err)
		if s.files[name] == "" {
			different = append(different, name+": it would not be made")
		} else if shape(string(text)) != shape(s.files[name]) {
			different = append(different, fmt.Sprintf("%s: it would be of another shape:\n%s\n%s", name, shape(string(text)), shape(s.files[name])))
		}
	}
	for name := range s.files {
		if !there[name] {
			different = append(different, name+": there is no such file")
		}
	}
	slices.Sort(different)
	return different
}

// shape is a vector without what is another every time: how much is sealed, and
// not what.
func shape(text string) string {
	head, sealed, _ := strings.Cut(text, "-- sealed")
	sealed, value, _ := strings.Cut(sealed, "-- plaintext")
	return fmt.Sprintf("%s%d bytes sealed\n%s", head, len(sealed), value)
}
