package apply

import (
	"errors"
	"net/http"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// mapper knows which kinds a cluster serves, asks when it is asked for one
// that it does not know, and forgets all at Reset: the mapper inside never
// unlearns a version, a plural or a scope that a CustomResourceDefinition had.
type mapper struct {
	fresh func() (meta.RESTMapper, error)
	held  atomic.Pointer[meta.RESTMapper]
}

// NewMapper returns a RESTMapper that can be reset; it makes no request before
// it is asked. It is a controller-runtime MapperProvider.
func NewMapper(config *rest.Config, client *http.Client) (meta.RESTMapper, error) {
	m := &mapper{fresh: func() (meta.RESTMapper, error) { return apiutil.NewDynamicRESTMapper(config, client) }}
	inner, err := m.fresh()
	if err != nil {
		return nil, err
	}
	m.held.Store(&inner)
	return m, nil
}

// Reset implements meta.ResettableRESTMapper.
func (m *mapper) Reset() {
	if inner, err := m.fresh(); err == nil { // it made one of the same config before
		m.held.Store(&inner)
	}
}

func (m *mapper) inner() meta.RESTMapper { return *m.held.Load() }

// RESTMapping implements meta.RESTMapper. The very first look at a cluster
// takes a group that is down for one that is not there; the second asks the
// group itself.
func (m *mapper) RESTMapping(gk schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	inner := m.inner()
	found, err := inner.RESTMapping(gk, versions...)
	if _, partial := errors.AsType[*apiutil.ErrResourceDiscoveryFailed](err); partial {
		return inner.RESTMapping(gk, versions...)
	}
	return found, err
}

// KindFor and the others implement meta.RESTMapper.

func (m *mapper) KindFor(r schema.GroupVersionResource) (schema.GroupVersionKind, error) {
	return m.inner().KindFor(r)
}

func (m *mapper) KindsFor(r schema.GroupVersionResource) ([]schema.GroupVersionKind, error) {
	return m.inner().KindsFor(r)
}

func (m *mapper) ResourceFor(r schema.GroupVersionResource) (schema.GroupVersionResource, error) {
	return m.inner().ResourceFor(r)
}

func (m *mapper) ResourcesFor(r schema.GroupVersionResource) ([]schema.GroupVersionResource, error) {
	return m.inner().ResourcesFor(r)
}

func (m *mapper) RESTMappings(gk schema.GroupKind, versions ...string) ([]*meta.RESTMapping, error) {
	return m.inner().RESTMappings(gk, versions...)
}

func (m *mapper) ResourceSingularizer(resource string) (string, error) {
	return m.inner().ResourceSingularizer(resource)
}

// unserved reports whether a 404 is about the path, not about an object: the
// cluster does not serve the version, or the plural, that it was asked for.
// The API server answers such a request with plain text, for which client-go
// makes up a status with this cause.
func unserved(err error) bool {
	return apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}
