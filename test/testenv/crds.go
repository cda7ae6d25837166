package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var crdResource = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// InstallCRDs applies every CustomResourceDefinition of the YAML files in dir,
// and waits until they are served.
func InstallCRDs(ctx context.Context, config *rest.Config, dir string) error {
	crds, err := readCRDs(dir)
	if err != nil {
		return fmt.Errorf("testenv: read CRDs: %w", err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("testenv: install CRDs: %w", err)
	}
	resource := client.Resource(crdResource)
	for _, crd := range crds {
		if _, err := resource.Apply(ctx, crd.GetName(), crd, applyOptions); err != nil {
			return fmt.Errorf("testenv: install CRD %s: %w", crd.GetName(), err)
		}
	}
	for _, crd := range crds {
		err := poll(ctx, 50*time.Millisecond, "CRD "+crd.GetName()+" to be established", func(ctx context.Context) (bool, error) {
			live, err := resource.Get(ctx, crd.GetName(), metav1.GetOptions{})
			return err == nil && hasCondition(live, "Established"), err
		})
		if err != nil {
			return fmt.Errorf("testenv: %w", err)
		}
	}
	return nil
}

var applyOptions = metav1.ApplyOptions{FieldManager: "testenv", Force: true}

func readCRDs(dir string) ([]*unstructured.Unstructured, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, err
	}
	var crds []*unstructured.Unstructured
	for _, file := range files {
		objects, err := readObjects(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for _, o := range objects {
			if o.GetKind() == "CustomResourceDefinition" {
				crds = append(crds, o)
			}
		}
	}
	if len(crds) == 0 {
		return nil, fmt.Errorf("no CustomResourceDefinition in %s", dir)
	}
	return crds, nil
}

// readObjects returns the objects of a YAML file.
func readObjects(file string) ([]*unstructured.Unstructured, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		o := &unstructured.Unstructured{}
		err := decoder.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		if len(o.Object) > 0 {
			objects = append(objects, o)
		}
	}
}

func hasCondition(o *unstructured.Unstructured, name string) bool {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, c := range conditions {
		m, _ := c.(map[string]any)
		if m["type"] == name {
			return m["status"] == "True"
		}
	}
	return false
}
