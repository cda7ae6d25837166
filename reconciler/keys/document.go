package keys

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/sealer"
)

// maxDepth is how deep the objects of a request may be nested: a SealedSecret
// needs six levels.
const maxDepth = 64

// document is a SealedSecret as someone wrote it, in JSON, and where in it the
// sealed values are. It is read by one parser only, so that no two can
// disagree about what it says: a name that comes twice is refused.
type document struct {
	text  []byte
	at    sealer.Binding
	wider bool // the template names a scope that is wider than the object's
	items []span
	whole *span // spec.data, the deprecated form
}

// span is a sealed value: its text, and the bytes of its JSON string.
type span struct {
	name       string
	value      string
	start, end int
}

// parseDocument reads one SealedSecret in JSON or YAML. Its errors hold
// nothing of the text.
func parseDocument(body []byte) (*document, error) {
	text, err := asJSON(body)
	if err != nil {
		return nil, err
	}
	w := &walker{decoder: json.NewDecoder(bytes.NewReader(text)), text: text, strings: map[string]span{}}
	if err := w.value(nil); err != nil {
		return nil, errors.New("malformed document")
	}
	if _, err := w.token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one document")
	}
	return w.document()
}

// asJSON returns one document as JSON: as it is, if it is JSON already.
func asJSON(body []byte) ([]byte, error) {
	if trimmed := bytes.TrimSpace(body); bytes.HasPrefix(trimmed, []byte("{")) {
		return trimmed, nil
	}
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(body)))
	var found []byte
	for {
		part, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, errors.New("malformed YAML")
		}
		text, err := sigsyaml.YAMLToJSONStrict(part)
		if err != nil {
			return nil, errors.New("malformed YAML")
		}
		if string(text) == "null" {
			continue
		}
		if found != nil {
			return nil, errors.New("more than one document")
		}
		found = text
	}
	return found, nil
}

// walker reads JSON token by token, and keeps every string that is a value of
// an object, by its path.
type walker struct {
	decoder *json.Decoder
	text    []byte
	strings map[string]span
	paths   []string // of strings, in their order
}

// separator parts the names of a path. No name holds it but one that is not
// meant.
const separator = "\x00"

func (w *walker) value(path []string) error {
	if len(path) > maxDepth {
		return errors.New("nested too deeply")
	}
	start := w.skip(int(w.decoder.InputOffset()))
	token, err := w.token()
	if err != nil {
		return err
	}
	if _, ok := token.(string); !ok && len(path) == 3 && path[0] == "spec" && path[1] == "encryptedData" {
		w.keep(path, span{name: path[2], start: start}) // no text: nothing opens it
	}
	switch token := token.(type) {
	case json.Delim:
		if token == '[' {
			return w.array(path)
		}
		return w.object(path)
	case string:
		if len(path) > 0 {
			w.keep(path, span{name: path[len(path)-1], value: token, start: start, end: int(w.decoder.InputOffset())})
		}
	}
	return nil
}

// token returns the next token, and nothing of the text in an error.
func (w *walker) token() (json.Token, error) {
	token, err := w.decoder.Token()
	if errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	if err != nil {
		return nil, errors.New("malformed JSON")
	}
	return token, nil
}

func (w *walker) keep(path []string, s span) {
	key := strings.Join(path, separator)
	w.strings[key] = s
	w.paths = append(w.paths, key)
}

// skip returns where the next value begins, after from.
func (w *walker) skip(from int) int {
	for from < len(w.text) && strings.IndexByte(" \t\r\n:,", w.text[from]) >= 0 {
		from++
	}
	return from
}

func (w *walker) array(path []string) error {
	for w.decoder.More() {
		if err := w.value(slices.Concat(path, []string{separator})); err != nil {
			return err
		}
	}
	_, err := w.token()
	return err
}

func (w *walker) object(path []string) error {
	seen := map[string]bool{}
	for w.decoder.More() {
		token, err := w.token()
		if err != nil {
			return err
		}
		name, ok := token.(string)
		if !ok || seen[name] || strings.Contains(name, separator) {
			return fmt.Errorf("name %q is there twice", name)
		}
		seen[name] = true
		if err := w.value(slices.Concat(path, []string{name})); err != nil {
			return err
		}
	}
	_, err := w.token()
	return err
}

// document returns what of the text matters.
func (w *walker) document() (*document, error) {
	get := func(path ...string) string { return w.strings[strings.Join(path, separator)].value }
	if get("apiVersion") != bitnamiv1alpha1.GroupVersion.String() || get("kind") != bitnamiv1alpha1.SealedSecretKind {
		return nil, errors.New("not a SealedSecret")
	}
	scope := func(path ...string) sealer.Scope {
		return scopeOf(func(annotation string) string { return get(append(path, "metadata", "annotations", annotation)...) })
	}
	d := &document{
		text: w.text,
		at:   sealer.Binding{Namespace: get("metadata", "namespace"), Name: get("metadata", "name"), Scope: scope()},
	}
	d.wider = scope("spec", "template") > d.at.Scope
	prefix := "spec" + separator + "encryptedData" + separator
	for _, path := range w.paths {
		if name, ok := strings.CutPrefix(path, prefix); ok && !strings.Contains(name, separator) {
			d.items = append(d.items, w.strings[path])
		}
	}
	if s, ok := w.strings["spec"+separator+"data"]; ok && s.value != "" {
		d.whole = &s
	}
	return d, nil
}

// scopeOf returns the scope that annotations name.
func scopeOf(annotation func(name string) string) sealer.Scope {
	switch "true" {
	case annotation(bitnamiv1alpha1.AnnotationClusterWide):
		return sealer.ClusterWide
	case annotation(bitnamiv1alpha1.AnnotationNamespaceWide):
		return sealer.NamespaceWide
	default:
		return sealer.Strict
	}
}

// replaced returns the text with other sealed values, one for each of items,
// and every other byte as it was.
func (d *document) replaced(values []string) []byte {
	var out bytes.Buffer
	last := 0
	for i, item := range d.items {
		out.Write(d.text[last:item.start])
		fmt.Fprintf(&out, "%q", values[i]) // base64 needs no escapes
		last = item.end
	}
	out.Write(d.text[last:])
	return out.Bytes()
}
