package fake_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/fake"
)

// edited is a store whose spec changes: each read opens it as it is then. The
// denied path is refused here, as a fake store has no rights.
type edited struct {
	mu   sync.Mutex
	spec esv1.FakeProvider
}

const denied = "conformance/denied"

func (e *edited) open(ctx context.Context) (providers.Finder, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r, err := fake.Open(ctx, providers.Config{Provider: &esv1.SecretStoreProvider{Fake: e.spec.DeepCopy()}})
	if err != nil {
		return nil, err
	}
	return r.(providers.Finder), nil
}

func (e *edited) Read(ctx context.Context, ref providers.Ref) (providers.Value, error) {
	if ref.Path == denied {
		return providers.Value{}, providers.ErrDenied
	}
	r, err := e.open(ctx)
	if err != nil {
		return providers.Value{}, err
	}
	return r.Read(ctx, ref)
}

func (e *edited) Find(ctx context.Context, q providers.Query) ([]string, error) {
	r, err := e.open(ctx)
	if err != nil {
		return nil, err
	}
	return r.Find(ctx, q)
}

func TestConformance(t *testing.T) {
	e := &edited{}
	conformance.Test(t, func(*testing.T) conformance.Backend {
		return conformance.Backend{Reader: e, MissingVersion: "1000", Denied: denied, Folder: "conformance/find/",
			Put: func(_ context.Context, path, object string) (string, error) {
				e.mu.Lock()
				defer e.mu.Unlock()
				version := strconv.Itoa(len(e.spec.Data))
				e.spec.Data = append(e.spec.Data, esv1.FakeSecret{Key: path, Value: object}, esv1.FakeSecret{Key: path, Value: object, Version: version})
				return version, nil
			}}
	})
}

func TestValidationResult(t *testing.T) {
	for result, want := range map[int32]error{0: nil, 1: nil, 2: providers.ErrUnavailable, -1: providers.ErrUnavailable} {
		_, err := fake.Open(t.Context(), providers.Config{Provider: &esv1.SecretStoreProvider{Fake: &esv1.FakeProvider{ValidationResult: &result}}})
		if !errors.Is(err, want) {
			t.Errorf("Open with validationResult %d: got %v, want %v", result, err, want)
		}
	}
	if _, err := fake.Open(t.Context(), providers.Config{Provider: &esv1.SecretStoreProvider{}}); !errors.Is(err, providers.ErrInvalid) {
		t.Errorf("Open of another store: got %v, want ErrInvalid", err)
	}
}
