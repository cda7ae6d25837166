package render

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/yaml"
)

// ErrRemote says that a kustomization asks for something outside its source.
var ErrRemote = errors.New("remote bases are off: a source must hold all that it needs; copy it into the repository, or make it a source of its own")

// pathFields are the fields of a kustomization, and of kustomize's builtin
// plugins, whose strings kustomize takes for paths, and fetches by HTTP or a
// git process where they look like URLs.
// Source: sigs.k8s.io/kustomize/api/types.Kustomization, v0.21.
var pathFields = []string{
	"resources", "bases", "components", "crds", "configurations", "generators", "transformers", "validators",
	"patchesStrategicMerge", "path", "paths", "files", "file", "envs", "env", "valuesFile", "additionalValuesFiles", "repo",
}

// refuse looks into the files that can make kustomize leave the tree, or, if
// schemas is not set, that bring a schema of their own.
func refuse(file string, data []byte, schemas bool) error {
	kustomization := slices.Contains(konfig.RecognizedKustomizationFileNames(), path.Base(file))
	if !kustomization && !strings.Contains(string(data), "builtin") {
		return nil
	}
	var doc map[string]any
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil //nolint:nilerr // kustomize itself says what is wrong with it, or it is a list of documents, which no plugin is
	}
	if !kustomization && doc["apiVersion"] != "builtin" {
		return nil
	}
	if _, ok := doc["openapi"]; ok && kustomization && !schemas {
		return fmt.Errorf("%s: %w", file, errSchema)
	}
	return walk(file, "", doc, false)
}

// walk visits every string below v; isPath says that v stands in a path field.
func walk(file, at string, v any, isPath bool) error {
	switch v := v.(type) {
	case map[string]any:
		for key, child := range v {
			if err := walk(file, at+"."+key, child, slices.Contains(pathFields, key)); err != nil {
				return err
			}
		}
	case []any:
		for i, child := range v {
			if err := walk(file, fmt.Sprintf("%s[%d]", at, i), child, isPath); err != nil {
				return err
			}
		}
	case string:
		if isPath {
			return refusePath(file, strings.TrimPrefix(at, "."), v)
		}
	}
	return nil
}

func refusePath(file, at, value string) error {
	if strings.Contains(value, "\n") { // a document in place of a path
		var doc map[string]any
		if yaml.Unmarshal([]byte(value), &doc) == nil {
			return walk(file, at, doc, false)
		}
		return nil
	}
	if _, after, ok := strings.Cut(value, "="); ok && remote(after) || remote(value) {
		return fmt.Errorf("%s: %s: %q: %w", file, at, value, ErrRemote)
	}
	return nil
}

// remote reports whether kustomize might fetch p. It holds for more than
// kustomize does fetch, never for less: any scheme, any user, GitHub's short
// forms. Source: api/internal/git/repospec.go and api/internal/loader, v0.21.
func remote(p string) bool {
	p = strings.ToLower(strings.TrimSpace(p))
	first, _, _ := strings.Cut(p, "/")
	return strings.Contains(p, "://") || strings.Contains(first, ":") || strings.Contains(first, "@") ||
		strings.HasPrefix(p, "github.com") || strings.HasPrefix(p, "www.github.com")
}
