package render_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/lockstep-dev/lockstep/reconciler/render"
)

// wheel has a list that only a schema tells to merge by name.
const (
	wheel = "apiVersion: example.org/v1\nkind: Wheel\nmetadata: {name: w}\nspec:\n  spokes:\n  - {name: a, size: 1}\n  - {name: b, size: 1}\n"
	patch = "apiVersion: example.org/v1\nkind: Wheel\nmetadata: {name: w}\nspec:\n  spokes:\n  - {name: b, size: 2}\n"

	wheelSchema = `{"definitions": {"org.example.v1.Wheel": {
  "properties": {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}, "spec": {"properties": {"spokes": {
    "type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}, "size": {"type": "integer"}}},
    "x-kubernetes-patch-merge-key": "name", "x-kubernetes-patch-strategy": "merge"}}}},
  "x-kubernetes-group-version-kind": [{"group": "example.org", "kind": "Wheel", "version": "v1"}]}}}`

	deploymentOf2 = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec:\n  template:\n    spec:\n      containers:\n      - {name: a, image: one}\n      - {name: b, image: one}\n"
	patchOf2      = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec:\n  template:\n    spec:\n      containers:\n      - {name: b, image: two}\n"
)

// merged builds and says whether the patch of one item left the other there.
func merged(t *testing.T, files map[string]string, list string, fields ...string) bool {
	t.Helper()
	got, err := render.Render(tree(files), render.Options{})
	if err != nil {
		t.Error(err)
		return false
	}
	var at any = got.Objects[0].Object
	for _, f := range fields {
		at = at.(map[string]any)[f]
	}
	return len(at.(map[string]any)[list].([]any)) == 2
}

// TestSchemaOfItsOwn renders kustomizations that bring a schema, directly and
// in a base, next to others: the schema serves the ones and never the others.
func TestSchemaOfItsOwn(t *testing.T) {
	custom := func(kustomization string) map[string]string {
		return map[string]string{"kustomization.yaml": kustomization, "w.yaml": wheel, "p.yaml": patch, "s.json": wheelSchema}
	}
	with := custom("openapi: {path: s.json}\nresources: [w.yaml]\npatches: [{path: p.yaml}]\n")
	without := custom("resources: [w.yaml]\npatches: [{path: p.yaml}]\n")
	based := map[string]string{"kustomization.yaml": "resources: [base]\n"}
	for name, data := range with {
		based["base/"+name] = data
	}
	builtin := map[string]string{"kustomization.yaml": "resources: [d.yaml]\npatches: [{path: p.yaml}]\n", "d.yaml": deploymentOf2, "p.yaml": patchOf2}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 4 {
				if !merged(t, with, "spokes", "spec") {
					t.Error("with a schema: the list was replaced")
				}
				if !merged(t, based, "spokes", "spec") {
					t.Error("with a schema in the base: the list was replaced")
				}
				if merged(t, without, "spokes", "spec") {
					t.Error("without a schema: the list was merged, by the schema of another")
				}
				if !merged(t, builtin, "containers", "spec", "template", "spec") {
					t.Error("Kubernetes' own schema is gone")
				}
			}
		})
	}
	group.Wait()
}

// TestDefinitionsForKustomize: crds tell kustomize where names stand.
func TestDefinitionsForKustomize(t *testing.T) {
	definitions := `{"github.com/example.Wheel": {"Schema": {"properties": {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"$ref": "k8s.io/apimachinery/pkg/apis/meta/v1.ObjectMeta"},
  "spec": {"$ref": "github.com/example.WheelSpec"}}}, "Dependencies": ["github.com/example.WheelSpec"]},
 "github.com/example.WheelSpec": {"Schema": {"properties": {"configRef": {"x-kubernetes-object-ref-api-version": "v1", "x-kubernetes-object-ref-kind": "ConfigMap", "$ref": "github.com/example.Ref"}}}},
 "github.com/example.Ref": {"Schema": {"properties": {"name": {"type": "string"}}}}}`
	object := "apiVersion: example.org/v1\nkind: Wheel\nmetadata: {name: w}\nspec: {configRef: {name: settings}}\n"
	got, err := render.Render(tree(map[string]string{
		"kustomization.yaml": "crds: [crds.json]\nnamePrefix: big-\nresources: [w.yaml, c.yaml]\n", "crds.json": definitions,
		"w.yaml": object, "c.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n",
	}), render.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range got.Objects {
		if o.GetKind() != "Wheel" {
			continue
		}
		spec, _ := o.Object["spec"].(map[string]any)
		if ref, _ := spec["configRef"].(map[string]any); !strings.HasPrefix(ref["name"].(string), "big-") {
			t.Errorf("configRef: got %v, want the name with its prefix", ref)
		}
		return
	}
	t.Error("the object is not there")
}
