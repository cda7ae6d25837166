package render

import (
	"errors"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/kyaml/openapi"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// errSchema says that a kustomization has the field openapi. Its schema
// replaces that of the whole process: kyaml keeps one, in a global variable.
var errSchema = errors.New("openapi: brings a schema of its own")

// schema is held for reading by builds that use Kubernetes' own schema, which
// run in parallel, and for writing by one that brings another.
var schema sync.RWMutex

// loaded is for the first build, see load.
var loaded sync.Once

// load has kyaml read Kubernetes' own schema now. Left to itself it does so
// when it is first needed, and writes what parallel builds read.
func load() { openapi.SchemaForResourceType(yaml.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}) }

// shared builds what brings no schema. It fails with errSchema, before the
// schema is set, if something does.
func (r *readOnly) shared(dir string, o Options) ([]*unstructured.Unstructured, error) {
	schema.RLock()
	defer schema.RUnlock()
	return r.once(dir, o)
}

// alone builds with a schema of the source's own, while nothing else is built,
// and puts Kubernetes' own back.
func (r *readOnly) alone(dir string, o Options) ([]*unstructured.Unstructured, error) {
	schema.Lock()
	defer schema.Unlock()
	openapi.ResetOpenAPI()
	defer load()
	defer openapi.ResetOpenAPI()
	r.refused, r.overlay, r.schemas = nil, nil, true
	return r.once(dir, o)
}
