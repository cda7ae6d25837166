package manifest

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
)

// Roots returns the SealedSecrets of a text of one or more documents, those in
// Lists too, in their order.
func Roots(text []byte) ([]*yaml.Node, error) {
	var all []*yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, ErrEdit
		}
		if len(document.Content) > 0 {
			all = append(all, sealedIn(document.Content[0])...)
		}
	}
}

func sealedIn(node *yaml.Node) []*yaml.Node {
	if node.Kind != yaml.MappingNode {
		return nil
	}
	group, _, _ := strings.Cut(textOf(node, "apiVersion"), "/")
	kind := textOf(node, "kind")
	if kind == bitnamiv1alpha1.SealedSecretKind && group == bitnamiv1alpha1.GroupVersion.Group {
		return []*yaml.Node{node}
	}
	var all []*yaml.Node
	if items := valueOf(node, "items"); strings.HasSuffix(kind, "List") && items != nil && items.Kind == yaml.SequenceNode {
		for _, item := range items.Content {
			all = append(all, sealedIn(item)...)
		}
	}
	return all
}

func valueOf(mapping *yaml.Node, name string) *yaml.Node {
	if at := slices.IndexFunc(keysOf(mapping), func(k *yaml.Node) bool { return k.Value == name }); at >= 0 {
		return mapping.Content[2*at+1]
	}
	return nil
}

func textOf(mapping *yaml.Node, name string) string {
	if v := valueOf(mapping, name); v != nil && v.Kind == yaml.ScalarNode {
		return v.Value
	}
	return ""
}

// ErrEdit says that a text cannot be edited in its place.
var ErrEdit = errors.New("the file is written in a way that cannot be edited in its place")

// Set sets one text in a document of YAML or JSON and leaves every other byte
// as it is. Root is the mapping that path begins at, as Roots found it in text.
// What is missing on the way is made: in braces within braces, in lines of its
// own elsewhere. A new entry comes where it belongs if its neighbours are in
// order, or else at the end. What comes out is read again: if it says anything
// else than that, or if it cannot be done, the error is an ErrEdit.
func Set(text []byte, root *yaml.Node, path []string, value string) ([]byte, error) {
	if strangeBreaks(text) {
		return nil, ErrEdit
	}
	next, err := (&edit{text: text}).set(root, path, value)
	if err != nil || !says(text, next, path, value) {
		return nil, ErrEdit
	}
	return next, nil
}

func (e *edit) set(node *yaml.Node, path []string, value string) ([]byte, error) {
	for i, name := range path {
		if node.Kind != yaml.MappingNode {
			return nil, ErrEdit
		}
		at := slices.IndexFunc(keysOf(node), func(k *yaml.Node) bool { return k.Value == name })
		if at < 0 {
			return e.add(node, path[i:], value)
		}
		next, left := node.Content[2*at+1], path[i+1:]
		switch {
		case len(left) == 0:
			return e.replace(next, value, node.Style&yaml.FlowStyle != 0 && isQuoted(node.Content[2*at]))
		case isEmpty(next):
			return e.fill(node, node.Content[2*at], next, left, value)
		}
		node = next
	}
	return nil, ErrEdit
}

// strangeBreaks says whether a text has line ends that YAML's parser counts and
// other programs do not.
func strangeBreaks(text []byte) bool {
	return bytes.Count(text, []byte("\r")) != bytes.Count(text, []byte("\r\n")) || bytes.ContainsAny(text, "\u0085\u2028\u2029") || !utf8.Valid(text)
}

func keysOf(mapping *yaml.Node) []*yaml.Node {
	var keys []*yaml.Node
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		keys = append(keys, mapping.Content[i])
	}
	return keys
}

// isEmpty says whether a value is null, or a mapping with nothing in it.
func isEmpty(n *yaml.Node) bool {
	plain := n.Anchor == "" && n.Style&yaml.TaggedStyle == 0
	return plain && (n.Kind == yaml.ScalarNode && n.Tag == "!!null" || n.Kind == yaml.MappingNode && len(n.Content) == 0)
}

func isQuoted(n *yaml.Node) bool { return n.Style&yaml.DoubleQuotedStyle != 0 }

type edit struct{ text []byte }

func (e *edit) splice(from, to int, with string) []byte {
	return slices.Concat(e.text[:from], []byte(with), e.text[to:])
}

// replace writes value in the place of a scalar.
func (e *edit) replace(n *yaml.Node, value string, always bool) ([]byte, error) {
	if n.Kind != yaml.ScalarNode || n.Anchor != "" || n.Style&yaml.TaggedStyle != 0 {
		return nil, ErrEdit
	}
	from, to, err := e.extent(n)
	if err != nil {
		return nil, err
	}
	return e.splice(from, to, e.apart(from, to)+spelled(value, always || isQuoted(n))), nil
}

// apart is what has to stand before a value that takes the place of nothing,
// behind a colon.
func (e *edit) apart(from, to int) string {
	if from == to && from > 0 && e.text[from-1] == ':' {
		return " "
	}
	return ""
}

// fill gives an empty value its first entry.
func (e *edit) fill(parent, key, empty *yaml.Node, path []string, value string) ([]byte, error) {
	var from, to int
	var err error
	if empty.Kind == yaml.ScalarNode {
		from, to, err = e.extent(empty)
	} else if from, err = e.offset(empty); err == nil {
		to, err = e.closing(from + 1)
	}
	if err != nil {
		return nil, err
	}
	start, err := e.offset(key)
	if err != nil || start > from {
		return nil, ErrEdit
	}
	if parent.Style&yaml.FlowStyle != 0 || bytes.ContainsRune(e.text[start:to], '\n') {
		with := flow(path, value, isQuoted(key), e.wide(key))
		return e.splice(from, to, e.apart(from, to)+with), nil
	}
	// In the place of a null or of braces come lines of their own, after a
	// comment that stands behind.
	rest := &edit{text: slices.Concat(bytes.TrimRight(e.text[:from], " "), e.text[to:])}
	at := rest.lineEnd(from - (len(e.text) - len(rest.text) - (to - from)))
	return rest.splice(at, at, rest.lines(key.Column+1, path, value)), nil
}

// add puts an entry into a mapping that has some.
func (e *edit) add(mapping *yaml.Node, path []string, value string) ([]byte, error) {
	keys := keysOf(mapping)
	if len(keys) == 0 {
		return e.addToEmpty(mapping, path, value)
	}
	before := len(keys) // the entry comes before this one
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.Value
	}
	if len(path) == 1 && slices.IsSorted(names) {
		before, _ = slices.BinarySearch(names, path[0])
	}
	if mapping.Style&yaml.FlowStyle != 0 {
		return e.addToFlow(mapping, before, path, value)
	}
	if before == 0 {
		return e.addFirst(keys[0], path, value)
	}
	end, err := e.end(mapping.Content[2*before-1])
	if err != nil {
		return nil, err
	}
	end = e.lineEnd(end)
	return e.splice(end, end, e.lines(keys[0].Column-1, path, value)), nil
}

// addFirst puts an entry before the first one, and before the comment that is
// about that.
func (e *edit) addFirst(first *yaml.Node, path []string, value string) ([]byte, error) {
	at, err := e.offset(first)
	if err != nil {
		return nil, err
	}
	line := bytes.LastIndexByte(e.text[:at], '\n') + 1
	if len(bytes.TrimLeft(e.text[line:at], " ")) > 0 || line == 0 {
		return nil, ErrEdit // something stands before it in its line
	}
	for line > 0 {
		above := bytes.LastIndexByte(e.text[:line-1], '\n') + 1
		if !bytes.HasPrefix(bytes.TrimLeft(e.text[above:line], " "), []byte("#")) {
			break
		}
		line = above
	}
	if line == 0 {
		return nil, ErrEdit
	}
	end := e.lineEnd(line - 1)
	if end == line-1 && end > 0 && e.text[end-1] == '\r' {
		end--
	}
	return e.splice(end, end, e.lines(first.Column-1, path, value)), nil
}

// addToEmpty fills the braces of a mapping that is nobody's value.
func (e *edit) addToEmpty(mapping *yaml.Node, path []string, value string) ([]byte, error) {
	open, err := e.offset(mapping)
	if err != nil || open >= len(e.text) || e.text[open] != '{' {
		return nil, ErrEdit
	}
	return e.splice(open+1, open+1, flow(path, value, true, true)), nil
}

// addToFlow adds an entry to a mapping in braces, with the space before it that
// the first has.
func (e *edit) addToFlow(mapping *yaml.Node, before int, path []string, value string) ([]byte, error) {
	open, err := e.offset(mapping)
	if err != nil {
		return nil, err
	}
	first, err := e.offset(mapping.Content[0])
	if err != nil || open >= first || len(bytes.TrimSpace(e.text[open+1:first])) > 0 {
		return nil, ErrEdit
	}
	space := string(e.text[open+1 : first])
	quote, wide := isQuoted(mapping.Content[0]), e.wide(mapping.Content[0])
	entry := strings.TrimSuffix(strings.TrimPrefix(flow(path, value, quote, wide), "{"), "}")
	if space == "" && wide {
		space = " "
	}
	if before == 0 {
		return e.splice(first, first, entry+","+space), nil
	}
	end, err := e.end(mapping.Content[2*before-1])
	if err != nil {
		return nil, err
	}
	return e.splice(end, end, ","+space+entry), nil
}
