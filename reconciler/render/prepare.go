package render

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	kustomize "github.com/fluxcd/pkg/apis/kustomize"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/yaml"
)

// prepare puts into the overlay the kustomization file that dir is built with:
// its own, or a generated one, with the changes that o asks for. As in Flux,
// they are changes of the file, not a layer above it.
func (r *readOnly) prepare(dir string, o Options) error {
	file, doc, err := r.kustomization(dir)
	if err != nil {
		return err
	}
	if doc == nil {
		file = path.Join(dir, konfig.DefaultKustomizationFileName())
		if doc, err = r.generate(dir); err != nil {
			return err
		}
	}
	if o.IgnoreMissingComponents {
		o.Components = slices.DeleteFunc(slices.Clone(o.Components), func(c string) bool { return !r.regularDir(path.Join(dir, c)) })
	}
	if err := merge(doc, o); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	data, err := yaml.Marshal(doc)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	r.overlay = map[string][]byte{file: data}
	return nil
}

// kustomization reads the kustomization file of dir; doc is nil if there is
// none.
func (r *readOnly) kustomization(dir string) (file string, doc map[string]any, err error) {
	names, err := r.ReadDir(dir)
	if err != nil {
		return "", nil, err
	}
	for _, n := range konfig.RecognizedKustomizationFileNames() {
		if !slices.Contains(names, n) {
			continue
		}
		if file != "" {
			return "", nil, fmt.Errorf("%s: both %s and %s are there: keep one", dir, path.Base(file), n)
		}
		file = path.Join(dir, n)
	}
	if file == "" {
		return "", nil, nil
	}
	data, err := r.ReadFile(file)
	if err != nil {
		return "", nil, err
	}
	doc = map[string]any{}
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return "", nil, fmt.Errorf("%s: %w", file, err)
	}
	if doc == nil {
		doc = map[string]any{}
	}
	return file, doc, nil
}

// generate makes the kustomization of a folder that has none, as Flux does:
// all its YAML files, also of folders below, but a folder that has a
// kustomization of its own is taken as a whole.
func (r *readOnly) generate(dir string) (map[string]any, error) {
	resources, err := r.resources(dir, dir)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"apiVersion": "kustomize.config.k8s.io/v1beta1",
		"kind":       "Kustomization",
		"resources":  resources,
	}, nil
}

// resources returns what there is to take below at, as seen from dir.
func (r *readOnly) resources(dir, at string) ([]any, error) {
	names, err := r.ReadDir(at)
	if err != nil {
		return nil, err
	}
	resources := []any{}
	for _, n := range names {
		below := path.Join(at, n)
		if !r.regularDir(below) {
			if r.manifest(below) {
				resources = append(resources, within(dir, below))
			}
			continue
		}
		if own, _, err := r.kustomization(below); err != nil || own != "" {
			resources = append(resources, within(dir, below))
			continue
		}
		inner, err := r.resources(dir, below)
		if err != nil {
			return nil, err
		}
		resources = append(resources, inner...)
	}
	return resources, nil
}

func within(dir, p string) string {
	if dir == "." {
		return p
	}
	return strings.TrimPrefix(p, dir+"/")
}

func (r *readOnly) regularDir(p string) bool {
	info, err := r.stat(p)
	return err == nil && info.IsDir()
}

func (r *readOnly) manifest(p string) bool {
	ext := path.Ext(p)
	if ext != ".yaml" && ext != ".yml" {
		return false
	}
	info, err := r.stat(p)
	return err == nil && info.Mode()&fs.ModeType == 0
}

// merge applies o to a kustomization.
func merge(doc map[string]any, o Options) error {
	set(doc, "namespace", o.TargetNamespace)
	set(doc, "namePrefix", o.NamePrefix)
	set(doc, "nameSuffix", o.NameSuffix)
	for _, c := range o.Components {
		if err := add(doc, "components", c); err != nil {
			return err
		}
	}
	for _, m := range o.BuildMetadata {
		if have, _ := doc["buildMetadata"].([]any); slices.Contains(have, any(m)) {
			continue
		}
		if err := add(doc, "buildMetadata", m); err != nil {
			return err
		}
	}
	for _, p := range o.Patches {
		if err := add(doc, "patches", patch(p)); err != nil {
			return err
		}
	}
	for _, i := range o.Images {
		if err := addImage(doc, i); err != nil {
			return err
		}
	}
	return nil
}

func set(doc map[string]any, field, value string) {
	if value != "" {
		doc[field] = value
	}
}

func add(doc map[string]any, field string, item any) error {
	list, ok := doc[field].([]any)
	if !ok && doc[field] != nil {
		return fmt.Errorf("%s: is not a list", field)
	}
	doc[field] = append(list, item)
	return nil
}

func patch(p kustomize.Patch) map[string]any {
	item := map[string]any{"patch": p.Patch}
	if t := p.Target; t != nil {
		target := map[string]any{}
		for field, value := range map[string]string{
			"group": t.Group, "version": t.Version, "kind": t.Kind, "name": t.Name, "namespace": t.Namespace,
			"labelSelector": t.LabelSelector, "annotationSelector": t.AnnotationSelector,
		} {
			set(target, field, value)
		}
		item["target"] = target
	}
	return item
}

// addImage replaces the entry of the same name, if there is one.
func addImage(doc map[string]any, image kustomize.Image) error {
	item := map[string]any{"name": image.Name}
	set(item, "newName", image.NewName)
	set(item, "newTag", image.NewTag)
	set(item, "digest", image.Digest)
	list, _ := doc["images"].([]any)
	for i, have := range list {
		if m, ok := have.(map[string]any); ok && m["name"] == image.Name {
			list[i] = item
			return nil
		}
	}
	return add(doc, "images", item)
}
