package render

import (
	"encoding/base64"
	"strings"

	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"
)

// clearValues are the values that files which are not encrypted give to
// Secrets. One that stands in clear somewhere is no secret, although it is
// encrypted elsewhere.
type clearValues map[string]bool

// kustomization notes all values of a kustomization file: literals of
// generators, and patches in the text.
func (c clearValues) kustomization(data []byte) {
	var doc any
	if sigsyaml.Unmarshal(data, &doc) == nil {
		c.note(doc)
	}
}

// manifest notes the values of the Secrets in a file.
func (c clearValues) manifest(data []byte) {
	if !strings.Contains(string(data), "Secret") {
		return
	}
	reader := yaml.NewYAMLOrJSONDecoder(strings.NewReader(string(data)), 4096)
	for {
		var doc map[string]any
		if reader.Decode(&doc) != nil {
			return // the end, or kustomize says what is wrong with it
		}
		if doc["kind"] == "Secret" {
			c.note(doc["data"])
			c.note(doc["stringData"])
		}
	}
}

// generated notes a file that a Secret is generated from: as a whole, and as
// lines of an environment.
func (c clearValues) generated(data []byte) {
	c[string(data)] = true
	for line := range strings.Lines(string(data)) {
		if _, value, ok := strings.Cut(line, "="); ok {
			c[strings.TrimSpace(value)] = true
		}
	}
}

// note takes every text in a value, also as what its base64 says, as what
// stands behind a "=", and as a document of its own.
func (c clearValues) note(v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, child := range v {
			c.note(child)
		}
	case []any:
		for _, child := range v {
			c.note(child)
		}
	case string:
		c[v] = true
		if raw, err := base64.StdEncoding.DecodeString(v); err == nil {
			c[string(raw)] = true
		}
		if _, value, ok := strings.Cut(v, "="); ok {
			c[value] = true
		}
		if strings.Contains(v, "\n") {
			c.manifest([]byte(v))
		}
	}
}
