// Package providers is what a secret store looks like to the rest of the
// suite: a Reader, the classes of its errors, and the Value that it returns;
// and, where a store can do more, a BatchReader, Finder, MetadataReader or
// Writer, which callers ask for with a type assertion. Each backend is a package below this one.
package providers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
)

// A Ref names one version of one secret, as remoteRef.key and
// remoteRef.version spell it. An empty Version is the newest.
type Ref struct{ Path, Version string }

// A Reader reads secrets. It is safe for use by many goroutines.
type Reader interface {
	// Read returns the whole value that ref names; a property of it is picked
	// by the caller. The caller owns its bytes.
	Read(ctx context.Context, ref Ref) (Value, error)
}

// Errors that a backend wraps so that controllers can tell what to do next.
// Any other error is taken to be temporary. Their text, and that of what wraps
// them, never holds a value nor a message of the service word for word.
var (
	ErrNotFound    = errors.New("no such secret")          // the ref names nothing
	ErrDenied      = errors.New("access denied")           // the store knows us and says no
	ErrThrottled   = errors.New("too many requests")       // ask again, later; see RetryAfter
	ErrInvalid     = errors.New("invalid reference")       // the ref or the store can never work as written
	ErrUnavailable = errors.New("store cannot be reached") // sealed, down, or no connection
)

// Throttled is an ErrThrottled with the time that the service asked to wait;
// 0 if it did not say.
type Throttled struct{ After time.Duration } //nolint:errname // it is an ErrThrottled, and the name says so

// Error implements error.
func (t Throttled) Error() string { return ErrThrottled.Error() }

// Is makes errors.Is(t, ErrThrottled) true.
func (t Throttled) Is(target error) bool { return target == ErrThrottled }

// Config is all that a backend may know about the store it opens.
type Config struct {
	Provider   *esv1.SecretStoreProvider
	References References
	Store      Store

	// Ambient allows a store without auth to use the controller's own
	// identity in a cloud. Never is its token of the API server sent to
	// anyone.
	Ambient bool
	// LinkLocal allows connections to link-local addresses and those of
	// metadata services.
	LinkLocal bool
}

// Store says which store is opened, and for whom, for services that are told
// so: session tags of AWS say it.
type Store struct {
	Kind, Name string
	// Namespace of the objects that use it. It is empty for a ClusterSecretStore
	// that is the same for all.
	Namespace string
}

// References reads what the fields of a store refer to, with the rights that
// the store has: a namespaced one sees its own namespace only. It never gives
// a backend the controller's own identity.
type References interface {
	// Secret returns one key of a Secret.
	Secret(ctx context.Context, ref esv1.SecretKeySelector) (Value, error)
	// Keys returns all keys of a Secret; ref.Key is not looked at.
	Keys(ctx context.Context, ref esv1.SecretKeySelector) (map[string]Value, error)
	// CA returns a bundle of PEM certificates.
	CA(ctx context.Context, ref esv1.CAProvider) ([]byte, error)
	// Token returns a token of a ServiceAccount for the audiences, made by
	// TokenRequest, and when it expires. lifetime is how long it is asked to live;
	// 0 is the least that every API server grants, which is 10 minutes.
	Token(ctx context.Context, ref esv1.ServiceAccountSelector, audiences []string, lifetime time.Duration) (Value, time.Time, error)
	// Annotations returns those of a ServiceAccount.
	Annotations(ctx context.Context, ref esv1.ServiceAccountSelector) (map[string]string, error)
}

// Open connects to a store. Nothing but ctx and config may influence the
// result: backends read no environment and no files.
type Open func(ctx context.Context, config Config) (Reader, error)

// Registry maps the key of spec.provider, as spelled in the API, to its
// backend.
type Registry map[string]Open

// Open connects to the store that config describes, or returns ErrInvalid if
// the binary was built without that backend.
func (r Registry) Open(ctx context.Context, config Config) (Reader, error) {
	name, err := r.find(config.Provider)
	if err != nil {
		return nil, err
	}
	return r[name](ctx, config)
}

// Check returns an ErrInvalid, which says what there is, unless a backend
// serves p.
func (r Registry) Check(p *esv1.SecretStoreProvider) error {
	_, err := r.find(p)
	return err
}

func (r Registry) find(p *esv1.SecretStoreProvider) (string, error) {
	name, err := p.Name()
	if err != nil {
		return "", fmt.Errorf("spec.provider: %w: %w", ErrInvalid, err)
	}
	if r[name] == nil {
		return "", fmt.Errorf("spec.provider: %w: there is no provider %q here, only %s: use one of these, or leave the store to a controller of another class", ErrInvalid, name, r.names())
	}
	return name, nil
}

// names lists the backends, for messages.
func (r Registry) names() string {
	if len(r) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(maps.Keys(r)), ", ")
}
