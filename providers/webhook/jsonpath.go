package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/lockstep-dev/lockstep/providers"
)

// step leads from a JSON value into it: to a key of an object, or to an item
// of a list.
type step struct {
	key  string
	item int
	list bool
}

// steps of a path: .key, ['key'], ["key"] and [0].
var steps = regexp.MustCompile(`^(?:\.([A-Za-z_][A-Za-z0-9_-]*)|\['([^'\\]*)'\]|\["([^"\\]*)"\]|\[([0-9]{1,6})\])`)

// path reads a JSONPath that leads to one value. One that searches or filters
// is refused: what it finds could be another value tomorrow.
func path(text string) ([]step, error) {
	rest, ok := strings.CutPrefix(text, "$")
	var found []step
	for ok && rest != "" {
		m := steps.FindStringSubmatch(rest)
		if m == nil {
			ok = false
			break
		}
		rest = rest[len(m[0]):]
		if m[4] != "" {
			item, _ := strconv.Atoi(m[4]) // six digits always fit
			found = append(found, step{item: item, list: true})
			continue
		}
		found = append(found, step{key: m[1] + m[2] + m[3]})
	}
	if !ok {
		return nil, fmt.Errorf("spec.provider.webhook.result.jsonPath: %w: %q is no path to one value, such as $.data.items[0].password", providers.ErrInvalid, text)
	}
	return found, nil
}

// pick takes the value that path leads to out of an answer: text as it is,
// anything else as JSON.
func pick(body []byte, path []step) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil || d.More() {
		// The error of the decoder may hold a part of the answer.
		return nil, fmt.Errorf("%w: the answer is no JSON, which result.jsonPath needs", providers.ErrUnavailable)
	}
	for i, s := range path {
		next, ok := s.into(value)
		if !ok || (next == nil && i == len(path)-1) {
			return nil, fmt.Errorf("%w: the answer has nothing where result.jsonPath leads", providers.ErrUnavailable)
		}
		value = next
	}
	if text, ok := value.(string); ok {
		return []byte(text), nil
	}
	out := &bytes.Buffer{}
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return nil, fmt.Errorf("%w: the answer cannot be written as JSON again", providers.ErrUnavailable)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

func (s step) into(value any) (any, bool) {
	if list, ok := value.([]any); ok && s.list && s.item < len(list) {
		return list[s.item], true
	}
	object, ok := value.(map[string]any)
	if !ok || s.list {
		return nil, false
	}
	next, ok := object[s.key]
	return next, ok
}
