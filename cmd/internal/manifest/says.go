package manifest

import (
	"bytes"
	"errors"
	"io"
	"slices"

	"go.yaml.in/yaml/v3"
)

// says reports whether next says what text says, and value at the end of a path:
// either one text became value, or value came in, with as much of the path as
// was missing.
func says(text, next []byte, path []string, value string) bool {
	was, err := scalars(text)
	if err != nil {
		return false
	}
	is, err := scalars(next)
	if err != nil {
		return false
	}
	more := len(is) - len(was)
	entry := append(slices.Clone(path), value)
	switch {
	case more == 0:
		return replaced(was, is, value)
	case more < 0 || more > len(entry):
		return false
	}
	return inserted(was, is, entry[len(entry)-more:])
}

// replaced reports whether one text at most became another, and that is value.
func replaced(was, is []string, value string) bool {
	changed := 0
	for i := range is {
		if is[i] != was[i] {
			changed++
			if is[i] != value {
				return false
			}
		}
	}
	return changed <= 1
}

// inserted reports whether an entry came in, and nothing else.
func inserted(was, is, entry []string) bool {
	for at := 0; at <= len(was); at++ {
		if slices.Equal(is[at:at+len(entry)], entry) && slices.Equal(is[at+len(entry):], was[at:]) {
			return true
		}
		if at < len(was) && is[at] != was[at] {
			return false
		}
	}
	return false
}

// scalars returns the texts of all documents in their order, without nulls,
// which a first entry takes the place of.
func scalars(text []byte) ([]string, error) {
	var all []string
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		if n.Kind == yaml.ScalarNode && n.Tag != "!!null" || n.Kind == yaml.AliasNode {
			all = append(all, n.Value)
		}
		for _, c := range n.Content {
			walk(c)
		}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		walk(&document)
	}
}
