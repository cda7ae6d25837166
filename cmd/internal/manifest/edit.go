package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// errEdit says that a text cannot be edited in its place.
var errEdit = errors.New("the file is written in a way that cannot be edited in its place")

// setText sets one text in a document of YAML or JSON and leaves every other
// byte as it is. What is missing on the way to it is made. The document has one
// mapping at its root.
func setText(text []byte, path []string, value string) ([]byte, error) {
	e := &edit{text: text}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil || len(doc.Content) == 0 {
		return nil, errEdit
	}
	node := doc.Content[0]
	for i, name := range path {
		if node.Kind != yaml.MappingNode {
			return nil, errEdit
		}
		at := slices.IndexFunc(keysOf(node), func(k *yaml.Node) bool { return k.Value == name })
		if at < 0 {
			return e.add(node, path[i:], value)
		}
		key := node.Content[2*at]
		node = node.Content[2*at+1]
		if node.Kind == yaml.ScalarNode {
			inFlow := e.text[e.offset(key)] == '"' && bytes.HasPrefix(bytes.TrimSpace(e.text), []byte("{"))
			return e.replace(node, path[i+1:], value, inFlow)
		}
	}
	return nil, errEdit
}

func keysOf(mapping *yaml.Node) []*yaml.Node {
	var keys []*yaml.Node
	for i := 0; i < len(mapping.Content); i += 2 {
		keys = append(keys, mapping.Content[i])
	}
	return keys
}

type edit struct{ text []byte }

func (e *edit) splice(from, to int, with string) []byte {
	return slices.Concat(e.text[:from], []byte(with), e.text[to:])
}

// offset returns where a node begins, in bytes. Columns count characters.
func (e *edit) offset(n *yaml.Node) int {
	at := 0
	for range n.Line - 1 {
		at += bytes.IndexByte(e.text[at:], '\n') + 1
	}
	for range n.Column - 1 {
		_, size := utf8.DecodeRune(e.text[at:])
		at += size
	}
	return at
}

// replace writes value in the place of a scalar; or, if there is a path left, a
// mapping in the place of a null.
func (e *edit) replace(n *yaml.Node, left []string, value string, flow bool) ([]byte, error) {
	from, to, err := e.extent(n)
	if err != nil {
		return nil, err
	}
	with := quoted(value, flow)
	if len(left) > 0 {
		if n.Tag != "!!null" {
			return nil, errEdit
		}
		with = flowMapping(left, value)
	}
	if from == to {
		with = " " + with // after the colon of an empty value
	}
	return e.splice(from, to, with), nil
}

// extent returns the bytes of a scalar that ends in the line in which it
// begins, or is quoted, or is a block.
func (e *edit) extent(n *yaml.Node) (from, to int, err error) {
	from = e.offset(n)
	rest := e.text[from:]
	switch n.Style &^ yaml.TaggedStyle {
	case yaml.DoubleQuotedStyle:
		to = from + len(doubleQuoted.Find(rest))
	case yaml.SingleQuotedStyle:
		to = from + len(singleQuoted.Find(rest))
	case 0:
		if n.Value == "" {
			return from, from, nil
		}
		to = from + len(n.Value)
		if !bytes.HasPrefix(rest, []byte(n.Value)) {
			return 0, 0, errEdit // over several lines
		}
	default:
		return 0, 0, errEdit // a block
	}
	if to == from {
		return 0, 0, errEdit
	}
	return from, to, nil
}

var (
	doubleQuoted = regexp.MustCompile(`^"(?s:[^"\\]|\\.)*"`)
	singleQuoted = regexp.MustCompile(`^'(?:[^']|'')*'`)
)

// add puts an entry at the end of a mapping.
func (e *edit) add(mapping *yaml.Node, path []string, value string) ([]byte, error) {
	if mapping.Style&yaml.FlowStyle != 0 {
		return e.addToFlow(mapping, path, value)
	}
	end, err := e.end(mapping)
	if err != nil {
		return nil, err
	}
	if i := bytes.IndexByte(e.text[end:], '\n'); i >= 0 {
		end += i // after a comment that stands behind the last entry
	} else {
		end = len(e.text)
	}
	newline := "\n"
	if end > 0 && e.text[end-1] == '\r' {
		newline, end = "\r\n", end-1
	}
	indent := mapping.Content[0].Column - 1
	var out strings.Builder
	for i, name := range path {
		fmt.Fprintf(&out, "%s%s%s:", newline, strings.Repeat(" ", indent+2*i), quoted(name, false))
	}
	out.WriteString(" " + quoted(value, false))
	return e.splice(end, end, out.String()), nil
}

// addToFlow adds an entry to a mapping in braces, with the space before it that
// the first has.
func (e *edit) addToFlow(mapping *yaml.Node, path []string, value string) ([]byte, error) {
	entry := strings.TrimSuffix(strings.TrimPrefix(flowMapping(path, value), "{"), "}")
	open := e.offset(mapping) + 1
	if len(mapping.Content) == 0 {
		return e.splice(open, open, entry), nil
	}
	space := e.text[open:e.offset(mapping.Content[0])]
	end, err := e.end(mapping)
	if err != nil || len(bytes.TrimSpace(space)) > 0 {
		return nil, errEdit
	}
	if len(space) == 0 && bytes.HasPrefix(e.text[e.offset(mapping.Content[0]):], []byte(`"`)) {
		return e.splice(end, end, ","+entry), nil
	}
	if len(space) == 0 {
		space = []byte(" ")
	}
	return e.splice(end, end, ","+string(space)+entry), nil
}

// end returns where the last value in a collection ends; for one in braces
// that is another's last value, after its brace.
func (e *edit) end(n *yaml.Node) (int, error) {
	if n.Kind == yaml.ScalarNode {
		_, to, err := e.extent(n)
		if errors.Is(err, errEdit) && n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
			return e.blockEnd(n), nil
		}
		return to, err
	}
	if n.Kind == yaml.AliasNode {
		return 0, errEdit
	}
	if len(n.Content) == 0 {
		return e.closing(e.offset(n) + 1)
	}
	last := n.Content[len(n.Content)-1]
	end, err := e.end(last)
	if err == nil && last.Style&yaml.FlowStyle != 0 && len(last.Content) > 0 {
		end, err = e.closing(end)
	}
	return end, err
}

// closing returns what is behind the next closing bracket, if only space and a
// comma come before it.
func (e *edit) closing(from int) (int, error) {
	for i := from; i < len(e.text); i++ {
		switch e.text[i] {
		case ' ', '\t', '\r', '\n', ',':
		case '}', ']':
			return i + 1, nil
		default:
			return 0, errEdit
		}
	}
	return 0, errEdit
}

// blockEnd returns the end of the last line of a block scalar: of those that
// are indented deeper than the line in which it begins.
func (e *edit) blockEnd(n *yaml.Node) int {
	start := bytes.LastIndexByte(e.text[:e.offset(n)], '\n') + 1
	indent := len(e.text[start:]) - len(bytes.TrimLeft(e.text[start:], " "))
	end := start + lineLength(e.text[start:])
	for at := end; at < len(e.text); {
		line := e.text[at+1:]
		line = line[:lineLength(line)]
		at += 1 + len(line)
		trimmed := bytes.TrimSpace(line)
		if len(trimmed) > 0 && len(line)-len(bytes.TrimLeft(line, " ")) <= indent {
			break
		}
		if len(trimmed) > 0 {
			end = at
		}
	}
	return end
}

func lineLength(text []byte) int {
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		return i
	}
	return len(text)
}

func flowMapping(path []string, value string) string {
	text := quoted(value, true)
	for _, name := range slices.Backward(path) {
		text = "{" + quoted(name, true) + ": " + text + "}"
	}
	return text
}

// bare are texts that mean themselves without quotes: names that YAML takes for
// nothing else, and base64 of sealed values.
var bare = regexp.MustCompile(`^(?:A[A-Za-z0-9+/]{200,}={0,2}|[a-zA-Z][a-zA-Z0-9./_-]*)$`)

// quoted spells a text, in quotes where it has to.
func quoted(text string, always bool) string {
	var plain yaml.Node
	if !always && bare.MatchString(text) && yaml.Unmarshal([]byte(text), &plain) == nil &&
		plain.Content[0].Tag == "!!str" && !oldBool[strings.ToLower(text)] {
		return text
	}
	out, err := json.Marshal(text)
	if err != nil {
		return `""` // no text cannot be written
	}
	return string(out)
}

// oldBool are what readers of YAML 1.1 take for true or false.
var oldBool = map[string]bool{"y": true, "n": true, "yes": true, "no": true, "on": true, "off": true}
