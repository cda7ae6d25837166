// Package stores keeps an open providers.Reader for each SecretStore and
// ClusterSecretStore, for as long as nothing that it was opened with changes,
// and reports in their status whether they can be used.
package stores

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/externalsecrets/fetch"
	"github.com/lockstep-dev/lockstep/providers"
)

// Errors of Get, besides those of package providers, ErrReference and
// ErrNotAdmitted.
var (
	ErrNoStore    = errors.New("no such store")
	ErrOtherClass = errors.New("store of another controller")
)

// How long a failure to open a store is told to all who ask, before the next
// one tries: many objects use one store, and a service that is down is not
// helped by each of them knocking. The time doubles with each failure in a row,
// up to twice a minute.
const (
	firstMemory = time.Second
	lastMemory  = 30 * time.Second
)

// Stores opens stores, and keeps them open. All fields but Class are
// required. A Stores is safe for use by many goroutines.
type Stores struct {
	Client   client.Client // reads stores from its cache, and asks for tokens
	Reader   client.Reader // reads values of Secrets and ConfigMaps, without a cache
	Metadata client.Reader // cache of the metadata of Secrets, ConfigMaps, ServiceAccounts and Namespaces
	Registry providers.Registry

	// Class is that of this controller; stores of another are left alone. A
	// store without a class is served by any.
	Class string

	// Identity is who may use what belongs to the controller itself.
	Identity Identity

	mu   sync.Mutex
	open map[key]*entry
}

// key is a store as seen from one namespace.
type key struct {
	kind     string
	name     types.NamespacedName
	referent string // "" where it makes no difference
}

// entry is an open store, or the failure to open it.
type entry struct {
	mu      sync.Mutex // held while it is opened, so that it is opened once
	version string
	reader  providers.Reader
	err     error
	tried   time.Time
	failed  int // times in a row

	warnings atomic.Pointer[[]string] // of when it was opened the last time
}

// Get returns a reader of the store that an object in namespace refers to. The
// reader is shared, and must not be kept.
func (s *Stores) Get(ctx context.Context, kind, namespace, name string) (providers.Reader, error) {
	store, err := s.admitted(ctx, kind, namespace, name)
	if err != nil {
		return nil, err
	}
	reader, err := s.reader(ctx, store, namespace, 0)
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w", kind, name, err)
	}
	return reader, nil
}

// Line names what a namespace reads from a store through, or says why it may
// not read that. It implements queue.Stores.
func (s *Stores) Line(ctx context.Context, read fetch.Read, namespace string) (string, error) {
	store, err := s.admitted(ctx, read.Store.Kind, namespace, read.Store.Name)
	if err != nil {
		return "", err
	}
	key, prefix := read.Ref.Path, false
	if read.Find != "" {
		key, prefix = read.FindPath(), true
	}
	if err := permits(store, namespace, key, prefix); err != nil {
		return "", fmt.Errorf("%s %q: %w", read.Store.Kind, read.Store.Name, err)
	}
	// What the store is opened with is a part of the name, so that a store that
	// was put right is not taken to be down still.
	scope := scopeOf(store, namespace)
	version, err := s.version(ctx, store, scope)
	if err != nil {
		return "", fmt.Errorf("%s %q: %w", read.Store.Kind, read.Store.Name, err)
	}
	return fmt.Sprint(read.Store.Kind, " ", scope.referent, " ", version), nil
}

// Permits returns an error unless a namespace may read or write the secret key
// of a store.
func (s *Stores) Permits(ctx context.Context, ref esv1.SecretStoreRef, namespace, key string) error {
	store, err := s.admitted(ctx, ref.Kind, namespace, ref.Name)
	if err != nil {
		return err
	}
	if err := permits(store, namespace, key, false); err != nil {
		return fmt.Errorf("%s %q: %w", ref.Kind, ref.Name, err)
	}
	return nil
}

// admitted returns a store that namespace may use, and that can be used.
func (s *Stores) admitted(ctx context.Context, kind, namespace, name string) (esv1.GenericStore, error) {
	store, err := s.find(ctx, kind, namespace, name)
	if err != nil {
		return nil, err
	}
	if kind == esv1.ClusterSecretStoreKind {
		if err := admits(store.StoreSpec().Conditions, namespace, s.namespaceLabels(ctx, namespace)); err != nil {
			return nil, fmt.Errorf("%s %q: %w", kind, name, err)
		}
	}
	if err := checkSpec(store); err != nil {
		return nil, fmt.Errorf("%s %q: %w", kind, name, err)
	}
	return store, nil
}

// Serves reports whether a store is this controller's to serve. One that does
// not exist is, so that someone says so.
func (s *Stores) Serves(ctx context.Context, kind, namespace, name string) bool {
	_, err := s.find(ctx, kind, namespace, name)
	return !errors.Is(err, ErrOtherClass)
}

// Version changes whenever the spec of a store does. It is empty if there is
// no such store.
func (s *Stores) Version(ctx context.Context, kind, namespace, name string) string {
	store, err := s.find(ctx, kind, namespace, name)
	if err != nil {
		return ""
	}
	// The policy is an annotation, which is in no generation.
	return generation(store) + store.GetAnnotations()[AnnotationKeyPolicy]
}

func generation(store esv1.GenericStore) string {
	return fmt.Sprintf("%s/%d", store.GetUID(), store.GetGeneration())
}

func (s *Stores) find(ctx context.Context, kind, namespace, name string) (esv1.GenericStore, error) {
	var store esv1.GenericStore
	var obj client.Object
	id := client.ObjectKey{Namespace: namespace, Name: name}
	switch kind {
	case esv1.SecretStoreKind:
		o := &esv1.SecretStore{}
		store, obj = o, o
	case esv1.ClusterSecretStoreKind:
		o := &esv1.ClusterSecretStore{}
		store, obj, id.Namespace = o, o, ""
	default:
		return nil, fmt.Errorf("kind %q: %w: use SecretStore or ClusterSecretStore", kind, providers.ErrInvalid)
	}
	err := s.Client.Get(ctx, id, obj)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("%w: %s %q does not exist: create it, or correct the reference", ErrNoStore, kind, name)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s %q: %w", kind, name, err)
	}
	if !s.serves(store) {
		return nil, fmt.Errorf("%w: %s %q is for class %q", ErrOtherClass, kind, name, store.StoreSpec().Controller)
	}
	return store, nil
}

func (s *Stores) serves(store esv1.GenericStore) bool {
	class := store.StoreSpec().Controller
	return class == "" || class == s.Class
}

// reader returns the open reader of a store, and opens it if there is none for
// the store as it is now, or, with maxAge above 0, if it was opened about that
// long ago.
func (s *Stores) reader(ctx context.Context, store esv1.GenericStore, referent string, maxAge time.Duration) (providers.Reader, error) {
	scope := scopeOf(store, referent)
	version, err := s.version(ctx, store, scope)
	if err != nil {
		return nil, err
	}
	e := s.entry(store, scope)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.version == version && e.fresh(maxAge) {
		return e.reader, e.err
	}
	if e.version != version {
		e.failed = 0
	}
	e.version = version
	again, _ := retries(store.StoreSpec().RetrySettings) // checked by checkSpec
	listening, heard := providers.Listen(ctx)
	e.reader, e.err = again.Open(s.Registry.Open)(listening, providers.Config{
		Provider:   store.StoreSpec().Provider.DeepCopy(),
		References: &references{reader: s.Reader, writer: s.Client, scope: scope},
		Store:      providers.Store{Kind: kindOf(store), Name: store.GetName(), Namespace: cmp.Or(scope.own, scope.referent)},
		Ambient:    s.Identity.Ambient(scope.own),
		LinkLocal:  s.Identity.LinkLocal,
	})
	e.warnings.Store(new(heard.All()))
	e.tried = time.Now() //nolint:forbidigo // see fresh
	if e.failed++; e.err == nil {
		e.failed = 0
	}
	if ctx.Err() != nil {
		e.version = "" // the caller gave up; that says nothing about the store
	}
	return e.reader, e.err
}

// fresh reports whether what is known of the store still holds. The clock
// decides about load only, not about outcomes.
func (e *entry) fresh(maxAge time.Duration) bool {
	age := time.Since(e.tried)
	if e.err != nil {
		return age < min(firstMemory<<min(e.failed-1, 5), lastMemory)
	}
	return maxAge == 0 || age < maxAge*9/10 // the Loop wakes up to 5 % early
}

func scopeOf(store esv1.GenericStore, referent string) scope {
	if own := store.GetNamespace(); own != "" {
		return scope{own: own}
	}
	if !usesReferent(store.StoreSpec().Provider) {
		referent = "" // one reader serves all namespaces
	}
	return scope{referent: referent}
}

func (s *Stores) entry(store esv1.GenericStore, scope scope) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := key{kind: kindOf(store), name: types.NamespacedName{Namespace: store.GetNamespace(), Name: store.GetName()}, referent: scope.referent}
	if s.open[k] == nil {
		if s.open == nil {
			s.open = map[key]*entry{}
		}
		s.open[k] = &entry{}
	}
	return s.open[k]
}

// forget drops the readers of a store that is gone.
func (s *Stores) forget(kind string, name types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.open {
		if k.kind == kind && k.name == name {
			delete(s.open, k)
		}
	}
}

// version identifies all that a reader is opened with: the store's spec, and
// what it refers to. It also refuses references that the store may not have.
func (s *Stores) version(ctx context.Context, store esv1.GenericStore, scope scope) (string, error) {
	parts := []string{generation(store)}
	if field := tellsNamespace(store.StoreSpec().Provider); field != "" {
		if _, err := scope.namespace(field, nil); err != nil {
			return "", err
		}
	}
	for _, ref := range selectors(store.StoreSpec().Provider) {
		namespace, err := scope.namespace(ref.field, ref.namespace)
		if err != nil {
			return "", err
		}
		obj := metadata(corev1.SchemeGroupVersion.WithKind(ref.kind))
		err = s.Metadata.Get(ctx, client.ObjectKey{Namespace: namespace, Name: ref.name}, obj)
		switch {
		case apierrors.IsNotFound(err):
			return "", fmt.Errorf("%s: %w: %s %s/%s does not exist: create it, or correct the reference", ref.field, ErrReference, ref.kind, namespace, ref.name)
		case err != nil:
			return "", fmt.Errorf("%s: look at %s %s/%s: %w", ref.field, ref.kind, namespace, ref.name, err)
		}
		parts = append(parts, string(obj.UID)+"."+obj.ResourceVersion)
	}
	return strings.Join(parts, " "), nil
}

func metadata(kind schema.GroupVersionKind) *metav1.PartialObjectMetadata {
	o := &metav1.PartialObjectMetadata{}
	o.SetGroupVersionKind(kind)
	return o
}

func kindOf(store esv1.GenericStore) string {
	if store.GetNamespace() == "" {
		return esv1.ClusterSecretStoreKind
	}
	return esv1.SecretStoreKind
}
