package rewrite

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/sealer"
)

// parser finds the bytes of the values that YAML's parser names by line and
// column.
type parser struct {
	text  []byte
	lines []int // where each line begins
}

func lineStarts(text []byte) []int {
	starts := []int{0}
	for i, b := range text {
		if b == '\n' {
			starts = append(starts, i+1)
		}
	}
	return starts
}

// find adds the SealedSecrets in node to m.
func (p *parser) find(node *yaml.Node, m *Manifest) error {
	if node.Kind != yaml.MappingNode {
		return nil
	}
	kind, version := text(node, "kind"), text(node, "apiVersion")
	if items := field(node, "items"); strings.HasSuffix(kind, "List") && items != nil && items.Kind == yaml.SequenceNode {
		for _, item := range items.Content {
			if err := p.find(item, m); err != nil {
				return err
			}
		}
		return nil
	}
	group, _, _ := strings.Cut(version, "/")
	if kind != bitnamiv1alpha1.SealedSecretKind || group != bitnamiv1alpha1.GroupVersion.Group {
		return nil
	}
	o, err := p.object(node)
	if err != nil {
		return err
	}
	m.Objects = append(m.Objects, o)
	return nil
}

func (p *parser) object(node *yaml.Node) (*Object, error) {
	meta, err := mapping(node, "metadata")
	if err != nil {
		return nil, err
	}
	spec, err := mapping(node, "spec")
	if err != nil {
		return nil, err
	}
	o := &Object{Namespace: text(meta, "namespace"), Name: text(meta, "name"), Scope: scopeOf(field(meta, "annotations"))}
	encrypted := field(spec, "encryptedData")
	if encrypted == nil || encrypted.Tag == "!!null" {
		return o, nil
	}
	if encrypted.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: spec.encryptedData is no map of items", encrypted.Line)
	}
	for i := 0; i+1 < len(encrypted.Content); i += 2 {
		item, err := p.item(encrypted.Content[i], encrypted.Content[i+1])
		if err != nil {
			return nil, err
		}
		o.Items = append(o.Items, item)
	}
	return o, nil
}

// mapping returns a field that is a map, or nil.
func mapping(node *yaml.Node, name string) (*yaml.Node, error) {
	value := field(node, name)
	if value != nil && value.Tag != "!!null" && value.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: %s is no map", value.Line, name)
	}
	return value, nil
}

func (p *parser) item(key, value *yaml.Node) (*Item, error) {
	if key.Value == "<<" || value.Kind == yaml.AliasNode {
		return nil, fmt.Errorf("line %d: spec.encryptedData has an alias, whose value stands elsewhere: write the value out", key.Line)
	}
	if value.Kind != yaml.ScalarNode {
		return nil, fmt.Errorf("line %d: spec.encryptedData[%q] is no text", value.Line, key.Value)
	}
	i := &Item{Name: key.Value, Value: value.Value, Line: value.Line}
	var ok bool
	if i.start, i.end, ok = p.span(value); !ok {
		return nil, fmt.Errorf("line %d: spec.encryptedData[%q] is written in a way that cannot be replaced: write it in one line, with no anchor or tag", value.Line, key.Value)
	}
	return i, nil
}

// span returns the bytes between which a scalar's content stands, without
// quotes and without the header of a block.
func (p *parser) span(n *yaml.Node) (start, end int, ok bool) {
	at, ok := p.offset(n.Line, n.Column)
	if !ok || n.Anchor != "" || n.Style&yaml.TaggedStyle != 0 {
		return 0, 0, false
	}
	switch {
	case n.Style&yaml.DoubleQuotedStyle != 0:
		return p.quoted(at, '"')
	case n.Style&yaml.SingleQuotedStyle != 0:
		return p.quoted(at, '\'')
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return p.block(at)
	default:
		return p.plain(at, n.Value)
	}
}

// offset returns where a line and a column are, which YAML counts from 1, and
// in characters.
func (p *parser) offset(line, column int) (int, bool) {
	if line < 1 || line > len(p.lines) {
		return 0, false
	}
	at := p.lines[line-1]
	if line == 1 {
		at += len(p.text) - len(bytes.TrimPrefix(p.text, []byte("\ufeff")))
	}
	for range column - 1 {
		if at >= len(p.text) {
			return 0, false
		}
		_, size := utf8.DecodeRune(p.text[at:])
		at += size
	}
	return at, true
}

func (p *parser) quoted(at int, quote byte) (start, end int, ok bool) {
	if at >= len(p.text) || p.text[at] != quote {
		return 0, 0, false
	}
	for i := at + 1; i < len(p.text); i++ {
		switch {
		case quote == '"' && p.text[i] == '\\':
			i++
		case quote == '\'' && p.text[i] == quote && i+1 < len(p.text) && p.text[i+1] == quote:
			i++
		case p.text[i] == quote:
			return at + 1, i, true
		}
	}
	return 0, 0, false
}

// plain matches a value that may be folded over lines: a space of the value is
// any white space of the text.
func (p *parser) plain(at int, value string) (start, end int, ok bool) {
	i := at
	for _, want := range []byte(value) {
		if want == ' ' || want == '\n' {
			for i < len(p.text) && strings.IndexByte(" \t\r\n", p.text[i]) >= 0 {
				i++
			}
			continue
		}
		if i >= len(p.text) || p.text[i] != want {
			return 0, 0, false
		}
		i++
	}
	return at, i, true
}

// block returns the content of a literal or folded block from the first
// character to the last that is no white space.
func (p *parser) block(at int) (start, end int, ok bool) {
	if at >= len(p.text) || p.text[at] != '|' && p.text[at] != '>' {
		return 0, 0, false
	}
	header := bytes.IndexByte(p.text[at:], '\n')
	if header < 0 {
		return 0, 0, false
	}
	start = at + header + 1
	for start < len(p.text) && strings.IndexByte(" \r\n", p.text[start]) >= 0 {
		start++
	}
	line := bytes.LastIndexByte(p.text[:start], '\n') + 1
	indent := start - line
	if indent == 0 {
		return 0, 0, false
	}
	end = start
	for next := line; next < len(p.text); {
		stop := len(p.text)
		if n := bytes.IndexByte(p.text[next:], '\n'); n >= 0 {
			stop = next + n + 1
		}
		content := p.text[next:stop]
		trimmed := bytes.TrimRight(content, " \t\r\n")
		if len(trimmed) > 0 {
			if len(content)-len(bytes.TrimLeft(content, " ")) < indent {
				break
			}
			end = next + len(trimmed)
		}
		next = stop
	}
	return start, end, end > start
}

func field(node *yaml.Node, name string) *yaml.Node {
	if node != nil && node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if node == nil || node.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == name {
			return node.Content[i+1]
		}
	}
	return nil
}

func text(node *yaml.Node, name string) string {
	if f := field(node, name); f != nil && f.Kind == yaml.ScalarNode {
		return f.Value
	}
	return ""
}

func scopeOf(annotations *yaml.Node) sealer.Scope {
	switch {
	case text(annotations, bitnamiv1alpha1.AnnotationClusterWide) == "true":
		return sealer.ClusterWide
	case text(annotations, bitnamiv1alpha1.AnnotationNamespaceWide) == "true":
		return sealer.NamespaceWide
	default:
		return sealer.Strict
	}
}
