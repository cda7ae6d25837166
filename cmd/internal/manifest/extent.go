package manifest

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// offset returns where a node begins, in bytes. Columns count characters, and
// not the mark that a file may begin with.
func (e *edit) offset(n *yaml.Node) (int, error) {
	at := 0
	for range n.Line - 1 {
		next := bytes.IndexByte(e.text[at:], '\n') + 1
		if next == 0 {
			return 0, ErrEdit
		}
		at += next
	}
	if at == 0 && bytes.HasPrefix(e.text, []byte("\ufeff")) {
		at = len("\ufeff")
	}
	for range n.Column - 1 {
		if at >= len(e.text) {
			return 0, ErrEdit
		}
		_, size := utf8.DecodeRune(e.text[at:])
		at += size
	}
	return at, nil
}

// extent returns the bytes of a scalar that is not a block.
func (e *edit) extent(n *yaml.Node) (from, to int, err error) {
	if from, err = e.offset(n); err != nil {
		return 0, 0, err
	}
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
		to = from + plainLength(rest, n.Value)
	default:
		return 0, 0, ErrEdit // a block
	}
	if to == from {
		return 0, 0, ErrEdit
	}
	return from, to, nil
}

var (
	doubleQuoted = regexp.MustCompile(`^"(?s:[^"\\]|\\.)*"`)
	singleQuoted = regexp.MustCompile(`^'(?:[^']|'')*'`)
)

// plainLength returns how many bytes a text begins with that are value, where a
// space may be any white space, and 0 if it begins with something else.
func plainLength(text []byte, value string) int {
	i := 0
	for _, want := range []byte(value) {
		if want == ' ' || want == '\n' {
			for i < len(text) && strings.IndexByte(" \t\r\n", text[i]) >= 0 {
				i++
			}
			continue
		}
		if i >= len(text) || text[i] != want {
			return 0
		}
		i++
	}
	return i
}

// end returns where a value ends; one in braces, behind its brace.
func (e *edit) end(n *yaml.Node) (int, error) {
	switch {
	case n.Kind == yaml.ScalarNode && n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return e.blockEnd(n)
	case n.Kind == yaml.ScalarNode:
		_, to, err := e.extent(n)
		return to, err
	case n.Kind == yaml.AliasNode:
		return 0, ErrEdit
	case len(n.Content) == 0:
		from, err := e.offset(n)
		if err != nil {
			return 0, err
		}
		return e.closing(from + 1)
	}
	end, err := e.end(n.Content[len(n.Content)-1])
	if err == nil && n.Style&yaml.FlowStyle != 0 {
		return e.closing(end)
	}
	return end, err
}

// wide says whether a space stands behind the colon of a key, as in YAML it has
// to, and in JSON not.
func (e *edit) wide(key *yaml.Node) bool {
	_, to, err := e.extent(key)
	return err != nil || to+1 >= len(e.text) || e.text[to] != ':' || strings.IndexByte(" \t\r\n", e.text[to+1]) >= 0
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
			return 0, ErrEdit
		}
	}
	return 0, ErrEdit
}

// blockEnd returns the end of the last line of a block scalar: of those that
// are indented deeper than the line in which it begins.
func (e *edit) blockEnd(n *yaml.Node) (int, error) {
	from, err := e.offset(n)
	if err != nil {
		return 0, err
	}
	start := bytes.LastIndexByte(e.text[:from], '\n') + 1
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
	return end, nil
}

func lineLength(text []byte) int {
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		return i
	}
	return len(text)
}

// lineEnd returns where the line of at ends, before its line break.
func (e *edit) lineEnd(at int) int {
	end := at + lineLength(e.text[at:])
	if end > at && end < len(e.text) && e.text[end-1] == '\r' {
		end--
	}
	return end
}

// lines spells an entry in lines of its own, each with a line break before it.
func (e *edit) lines(indent int, path []string, value string) string {
	newline := "\n"
	if bytes.Contains(e.text, []byte("\r\n")) {
		newline = "\r\n"
	}
	var out strings.Builder
	for i, name := range path {
		out.WriteString(newline + strings.Repeat(" ", indent+2*i) + spelled(name, false) + ":")
	}
	return out.String() + " " + spelled(value, false)
}

// flow spells an entry in braces; wide is with a space behind the colon.
func flow(path []string, value string, quote, wide bool) string {
	text, colon := spelled(value, quote), ":"
	if wide || !quote {
		colon = ": "
	}
	for _, name := range slices.Backward(path) {
		text = "{" + spelled(name, quote) + colon + text + "}"
	}
	return text
}

// bare are texts that mean themselves without quotes: names that YAML takes for
// nothing else, and sealed values.
var bare = regexp.MustCompile(`^(?:A[A-Za-z0-9+/]{200,}={0,2}|[a-zA-Z._][a-zA-Z0-9./_-]*)$`)

// spelled spells a text, in quotes where it has to.
func spelled(text string, always bool) string {
	var plain yaml.Node
	if !always && bare.MatchString(text) && yaml.Unmarshal([]byte(text), &plain) == nil &&
		len(plain.Content) == 1 && plain.Content[0].Tag == "!!str" && !oldBool[strings.ToLower(text)] {
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
