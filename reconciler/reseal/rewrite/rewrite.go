// Package rewrite replaces sealed values in manifests and leaves every other
// byte of them alone: comments, order, quotes, indentation, line ends, and the
// documents that are not SealedSecrets.
package rewrite

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/sealer"
)

// maxSize is the largest manifest in bytes that is read: sixteen objects of the
// largest size that the API server takes.
const maxSize = 32 << 20

// A Manifest is a text in YAML or JSON, and the SealedSecrets in it.
type Manifest struct {
	Objects []*Object

	text []byte
}

// Object is one SealedSecret of a Manifest.
type Object struct {
	Namespace string // empty if the manifest does not say
	Name      string
	Scope     sealer.Scope
	Items     []*Item // in the order of the manifest
}

// Item is one sealed value.
type Item struct {
	Name  string
	Value string // as it is in the manifest: base64, or text of envelope 2
	Line  int    // of the value, from 1

	start, end int // of the bytes that Value is written in
	next       *string
}

// Replace puts value in the place of the item's. Bytes returns the result.
func (i *Item) Replace(value string) { i.next = &value }

// Mentions says whether text may hold a SealedSecret: a look at its bytes that
// spares all other files a parser.
func Mentions(text []byte) bool {
	return bytes.Contains(text, []byte(bitnamiv1alpha1.SealedSecretKind))
}

// Parse finds the SealedSecrets in a manifest of one or more documents, those
// in Lists too. An error names the line, and nothing of the values.
func Parse(text []byte) (*Manifest, error) {
	if len(text) > maxSize {
		return nil, fmt.Errorf("the manifest has %d bytes, more than %d: split it", len(text), maxSize)
	}
	m := &Manifest{text: text}
	p := &parser{text: text, lines: lineStarts(text)}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return m, nil
		}
		if err != nil {
			return nil, fmt.Errorf("not YAML: %w", syntax(err))
		}
		if len(document.Content) == 0 {
			continue
		}
		if err := p.find(document.Content[0], m); err != nil {
			return nil, err
		}
	}
}

// syntax keeps of an error of the parser where it is, and not the text there.
func syntax(err error) error {
	text := err.Error()
	if i := strings.Index(text, "`"); i >= 0 { // which begins a quotation
		text = strings.TrimRight(text[:i], " ")
	}
	return errors.New(strings.TrimPrefix(text, "yaml: "))
}

// Changed says whether an item was replaced.
func (m *Manifest) Changed() bool {
	return slices.ContainsFunc(m.items(), func(i *Item) bool { return i.next != nil })
}

func (m *Manifest) items() []*Item {
	var all []*Item
	for _, o := range m.Objects {
		all = append(all, o.Items...)
	}
	return all
}

// Bytes returns the manifest with what was replaced. It reads the result again,
// and returns an error rather than a manifest that says anything but that.
func (m *Manifest) Bytes() ([]byte, error) {
	items := slices.DeleteFunc(m.items(), func(i *Item) bool { return i.next == nil })
	slices.SortFunc(items, func(a, b *Item) int { return cmp.Compare(a.start, b.start) })
	var out bytes.Buffer
	at := 0
	for _, i := range items {
		out.Write(m.text[at:i.start])
		out.WriteString(*i.next)
		at = i.end
	}
	out.Write(m.text[at:])
	return out.Bytes(), m.check(out.Bytes())
}

func (m *Manifest) check(text []byte) error {
	after, err := Parse(text)
	if err != nil {
		return fmt.Errorf("the result would be broken, nothing was written: %w", err)
	}
	was, is := m.items(), after.items()
	if len(was) != len(is) {
		return errors.New("the result would have other items, nothing was written")
	}
	for n, i := range was {
		want := i.Value
		if i.next != nil {
			want = *i.next
		}
		if is[n].Name != i.Name || strings.TrimSpace(is[n].Value) != strings.TrimSpace(want) {
			return fmt.Errorf("the item %q would not be read as it was written, nothing was written", i.Name)
		}
	}
	return nil
}
