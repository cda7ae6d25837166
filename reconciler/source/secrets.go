package source

import (
	"context"
	"fmt"

	"github.com/fluxcd/pkg/apis/meta"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/reconciler"
)

// Secrets reads the Secrets that a source names, each once per change: a
// source that looks for news asks the API server for nothing.
type Secrets struct {
	Metadata  client.Reader // of Secrets, from a cache
	Reader    client.Reader // from the API server
	Namespace string        // of the source
	Cache     *SecretCache  // of the source
}

// SecretCache is what was read for one source, by field. The zero value is
// empty. It is not safe for use by many goroutines.
type SecretCache map[string]secret

// secret is the content of a Secret, and the state in which it was read.
type secret struct {
	version string
	data    map[string][]byte
}

// Get returns the values of the Secret that a field names; nil if it names
// none. The error is one for the Loop.
func (s Secrets) Get(ctx context.Context, field string, ref *meta.LocalObjectReference) (map[string][]byte, error) {
	if ref == nil {
		return nil, nil
	}
	key := client.ObjectKey{Namespace: s.Namespace, Name: ref.Name}
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	err := s.Metadata.Get(ctx, key, m)
	if apierrors.IsNotFound(err) {
		return nil, reconciler.Wait(reasonAuthentication, 0, fmt.Errorf("%s: the Secret %s does not exist: create it", field, key))
	}
	if err != nil {
		return nil, fmt.Errorf("look up Secret %s: %w", key, err)
	}
	version := key.Name + "/" + string(m.UID) + "/" + m.ResourceVersion
	if known, ok := (*s.Cache)[field]; ok && known.version == version {
		return known.data, nil
	}
	var found corev1.Secret
	if err := s.Reader.Get(ctx, key, &found); err != nil {
		return nil, reconciler.Temporary(reasonAuthentication, fmt.Errorf("read Secret %s: %w", key, err))
	}
	if *s.Cache == nil {
		*s.Cache = SecretCache{}
	}
	(*s.Cache)[field] = secret{version, found.Data}
	return found.Data, nil
}
