package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// maxCRD bounds a file so that client-side apply works: it keeps the whole
// object in an annotation, and an object's annotations have 262144 bytes.
const maxCRD = 200_000

// served says whether the suite serves the kinds of a file of controller-gen.
func served(file string) bool {
	return !strings.Contains(file, "_helmcharts") && !strings.Contains(file, "_helmrepositories")
}

// writeCRDs shapes what controller-gen wrote to from and makes it the content
// of to. Files that are gone from the one go from the other.
func writeCRDs(from, to string) error {
	files, err := filepath.Glob(filepath.Join(from, "*.yaml"))
	if err != nil {
		return err
	}
	want := map[string][]byte{}
	for _, file := range files {
		name := filepath.Base(file)
		if !served(name) {
			continue
		}
		if want[name], err = readCRD(file); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if n := len(want[name]); n > maxCRD {
			return fmt.Errorf("%s has %d bytes, more than the %d that client-side apply can take", name, n, maxCRD)
		}
	}
	if len(want) == 0 {
		return fmt.Errorf("controller-gen found no kind in %s", strings.Join(crdPackages, ", "))
	}
	return replace(to, want)
}

func readCRD(file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(data, crd); err != nil {
		return nil, err
	}
	shape(crd)
	// Through a map, to leave out the empty status that the type always prints.
	object := map[string]any{}
	if data, err = yaml.Marshal(crd); err != nil {
		return nil, err
	}
	if err := yaml.Unmarshal(data, &object); err != nil {
		return nil, err
	}
	delete(object, "status")
	return yaml.Marshal(object)
}

// shape makes crd what the suite promises:
//
//   - no schema default in a spec, because a value that the server fills in is
//     a difference to what Git holds; the controllers fold an empty field in code;
//   - the kinds of external-secrets.io served as v1 and as v1beta1, the same
//     schema in both, so that no conversion is needed;
//   - null as a value of a SealedSecret's template.data, which controller-gen
//     cannot say of the values of a map;
//   - an annotation that keeps Flux from substituting variables in it, because
//     a pattern can hold what looks like one.
func shape(crd *apiextensionsv1.CustomResourceDefinition) {
	if crd.Annotations == nil {
		crd.Annotations = map[string]string{}
	}
	crd.Annotations["kustomize.toolkit.fluxcd.io/substitute"] = "disabled"
	for i := range crd.Spec.Versions {
		root := crd.Spec.Versions[i].Schema.OpenAPIV3Schema
		if crd.Name == "sealedsecrets.bitnami.com" {
			root.Properties["spec"].Properties["template"].Properties["data"].AdditionalProperties.Schema.Nullable = true
		}
		if spec, ok := root.Properties["spec"]; ok {
			dropDefaults(&spec)
			root.Properties["spec"] = spec
		}
	}
	if crd.Spec.Group == "external-secrets.io" && len(crd.Spec.Versions) == 1 && crd.Spec.Versions[0].Name == "v1" {
		old := *crd.Spec.Versions[0].DeepCopy()
		old.Name, old.Storage = "v1beta1", false
		crd.Spec.Versions = append(crd.Spec.Versions, old)
		crd.Spec.Conversion = &apiextensionsv1.CustomResourceConversion{Strategy: apiextensionsv1.NoneConverter}
	}
}

func dropDefaults(schema *apiextensionsv1.JSONSchemaProps) {
	schema.Default = nil
	for name, property := range schema.Properties {
		if property.Default != nil {
			fold(schema.XValidations, name, string(property.Default.Raw))
		}
		dropDefaults(&property)
		schema.Properties[name] = property
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		dropDefaults(schema.Items.Schema)
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		dropDefaults(schema.AdditionalProperties.Schema)
	}
}

// fold makes rules that compare a field see its default, which the server does
// not fill in any more.
func fold(rules apiextensionsv1.ValidationRules, name, value string) {
	compared := regexp.MustCompile(`\bself\.` + regexp.QuoteMeta(name) + ` (==|!=)`)
	for i := range rules {
		rules[i].Rule = compared.ReplaceAllString(rules[i].Rule, "(has(self."+name+") ? self."+name+" : "+value+") $1")
	}
}

// replace makes want, by name, the YAML files of dir. A file that is right
// already is not touched.
func replace(dir string, want map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	have, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return err
	}
	for _, file := range have {
		if _, ok := want[filepath.Base(file)]; !ok {
			if err := os.Remove(file); err != nil {
				return err
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if err := write(filepath.Join(dir, name), want[name]); err != nil {
			return err
		}
	}
	return nil
}

// write puts data into file by a rename, so that a test that reads it at the
// same time sees the old or the new one, whole.
func write(file string, data []byte) error {
	if old, err := os.ReadFile(file); err == nil && bytes.Equal(old, data) {
		return nil
	}
	tmp := file + ".new"
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}
