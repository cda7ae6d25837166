// Package events turns what services tell of changes into reads that are due
// now: of a queue or a stream that a store's own service feeds, and of a
// webhook that anyone with its key may call. Each is a hint only. What it
// leads to is a read like any other, so a hint that is false, late or lost
// costs a read or a wait, and never a value.
package events

import (
	"fmt"
	"strings"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
)

// Annotations of a SecretStore or ClusterSecretStore.
const (
	// AnnotationSource is where the service of the store tells of changes: what
	// providers.Watcher takes. Without it, nobody listens.
	AnnotationSource = "lockstep.dev/events"

	// AnnotationKey is the Secret with the key of the store's webhook: name or
	// name/key in the namespace of a SecretStore, and namespace/name/key for a
	// ClusterSecretStore. Without it, the store has no webhook.
	AnnotationKey = "lockstep.dev/events-webhook-secret"
)

// defaultKey is the key in the Secret where the annotation names none.
const defaultKey = "key"

// A Store names a SecretStore or, without a namespace, a ClusterSecretStore.
type Store struct{ Namespace, Name string }

// Kind of the store.
func (s Store) Kind() string {
	if s.Namespace == "" {
		return esv1.ClusterSecretStoreKind
	}
	return esv1.SecretStoreKind
}

// String names the store in logs.
func (s Store) String() string { return strings.TrimPrefix(s.Namespace+"/"+s.Name, "/") }

// secretOf returns where the key of a store's webhook is.
func secretOf(store Store, annotation string) (namespace, name, key string, err error) {
	parts := strings.Split(annotation, "/")
	if store.Namespace != "" {
		parts = append([]string{store.Namespace}, parts...)
	}
	if len(parts) == 2 {
		parts = append(parts, defaultKey)
	}
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
		return "", "", "", fmt.Errorf("annotation %s: %q must be NAME/KEY, and NAMESPACE/NAME/KEY on a ClusterSecretStore", AnnotationKey, annotation)
	}
	return parts[0], parts[1], parts[2], nil
}
