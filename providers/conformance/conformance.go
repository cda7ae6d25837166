// Package conformance is the test that every backend of providers passes,
// whoever wrote it.
package conformance

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/lockstep-dev/lockstep/providers"
)

// Backend is an open store, and what a test can do to it.
type Backend struct {
	Reader providers.Reader
	// Put stores a JSON object at path as the newest version, without the
	// Reader, and returns how remoteRef.version spells that version.
	Put func(ctx context.Context, path, object string) (version string, err error)
	// MissingVersion is a version that no secret has. Empty: the store keeps
	// no versions.
	MissingVersion string
	// Denied is the path of a secret that Reader has no right to.
	Denied string
	// Tag gives the secret at path tags, or labels, or whatever the store has
	// of that kind. It is needed of a Finder that finds by them.
	Tag func(ctx context.Context, path string, tags map[string]string) error
	// Folder is what Query.Path takes to find what is below conformance/find/;
	// empty: the Finder has no paths.
	Folder string
	// Metadata is the settings that Writer.Write takes, as JSON; may be empty.
	Metadata string
	// Text says that the values of an object are text, whatever was put.
	Text bool
	// Path spells a path of this package, with its slashes, as the store does.
	// Nil: as it is.
	Path func(path string) string
	// Credentials are what Reader logs in with: no error may show them.
	Credentials []string
}

// suite is one run of Test.
type suite struct {
	Backend
	canary string // a part of every value

	mu     sync.Mutex
	errors []error // all that Reader returned
}

// Test runs every check against the store that setup opens.
func Test(t *testing.T, setup func(t *testing.T) Backend) {
	s := &suite{Backend: setup(t), canary: "canary-" + rand.Text()}
	if s.Path == nil {
		s.Path = func(path string) string { return path }
	}
	t.Run("Read", s.testRead)
	t.Run("ReadMissing", s.testMissing)
	if s.MissingVersion != "" {
		t.Run("ReadVersion", s.testVersion)
	}
	t.Run("ReadDenied", s.testDenied)
	t.Run("CallerOwnsValue", s.testOwner)
	t.Run("ConcurrentReads", s.testConcurrent)
	t.Run("CancelledContext", s.testCancelled)
	s.testCapabilities(t)
	t.Run("ErrorsHoldNoSecret", s.testErrors) // the last: it looks at the errors of the others
}

// read reads, and keeps the error for testErrors.
func (s *suite) read(ctx context.Context, ref providers.Ref) (providers.Value, error) {
	ref.Path = s.Path(ref.Path)
	v, err := s.Reader.Read(ctx, ref)
	s.keep(err)
	return v, err
}

// keep remembers an error for testErrors.
func (s *suite) keep(err error) {
	if err == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errors = append(s.errors, err)
}

// object returns a JSON object with the canary and name in it, and with the
// largest number that every store keeps: one above 2^53-1 is rounded by Vault.
func (s *suite) object(name string) string {
	if s.Text {
		return fmt.Sprintf(`{"name":%q,"password":"%s<&>é"}`, name, s.canary)
	}
	return fmt.Sprintf(`{"n":9007199254740991,"name":%q,"password":"%s<&>é"}`, name, s.canary)
}

func (s *suite) put(t *testing.T, path, object string) string {
	t.Helper()
	version, err := s.Put(t.Context(), s.Path(path), object)
	if err != nil {
		t.Fatal(err)
	}
	return version
}

// wantObject fails t unless ref reads as the JSON object want.
func (s *suite) wantObject(t *testing.T, ref providers.Ref, want string) {
	t.Helper()
	v, err := s.read(t.Context(), ref)
	if err != nil {
		t.Errorf("Read(%+v): %v", ref, err)
		return
	}
	if got := v.Bytes(); !sameJSON(string(got), want) {
		t.Errorf("Read(%+v): got %s, want %s", ref, got, want)
	}
}

// sameJSON compares without looking at spaces, escapes and the order of keys,
// but to the last digit of a number.
func sameJSON(a, b string) bool {
	parse := func(s string) (v any, err error) {
		d := json.NewDecoder(strings.NewReader(s))
		d.UseNumber()
		return v, d.Decode(&v)
	}
	left, errLeft := parse(a)
	right, errRight := parse(b)
	return errLeft == nil && errRight == nil && reflect.DeepEqual(left, right)
}

func (s *suite) testRead(t *testing.T) {
	s.put(t, "conformance/one", s.object("one"))
	s.wantObject(t, providers.Ref{Path: "conformance/one"}, s.object("one"))
}

func (s *suite) testMissing(t *testing.T) {
	if _, err := s.read(t.Context(), providers.Ref{Path: "conformance/none"}); !errors.Is(err, providers.ErrNotFound) {
		t.Errorf("Read of a missing path: got %v, want ErrNotFound", err)
	}
}

func (s *suite) testVersion(t *testing.T) {
	first := s.put(t, "conformance/versions", s.object("first"))
	second := s.put(t, "conformance/versions", s.object("second"))
	s.wantObject(t, providers.Ref{Path: "conformance/versions"}, s.object("second"))
	s.wantObject(t, providers.Ref{Path: "conformance/versions", Version: first}, s.object("first"))
	s.wantObject(t, providers.Ref{Path: "conformance/versions", Version: second}, s.object("second"))
	missing := providers.Ref{Path: "conformance/versions", Version: s.MissingVersion}
	if _, err := s.read(t.Context(), missing); !errors.Is(err, providers.ErrNotFound) {
		t.Errorf("Read of a missing version: got %v, want ErrNotFound", err)
	}
}

func (s *suite) testDenied(t *testing.T) {
	s.put(t, s.Denied, s.object("denied"))
	if _, err := s.read(t.Context(), providers.Ref{Path: s.Denied}); !errors.Is(err, providers.ErrDenied) {
		t.Errorf("Read without the right to: got %v, want ErrDenied", err)
	}
}

func (s *suite) testOwner(t *testing.T) {
	s.put(t, "conformance/owner", s.object("owner"))
	v, err := s.read(t.Context(), providers.Ref{Path: "conformance/owner"})
	if err != nil {
		t.Fatal(err)
	}
	clear(v.Bytes()) // callers wipe what they have read
	s.wantObject(t, providers.Ref{Path: "conformance/owner"}, s.object("owner"))
}

func (s *suite) testConcurrent(t *testing.T) {
	const secrets, readers = 4, 32
	for i := range secrets {
		name := fmt.Sprintf("conformance/concurrent-%d", i)
		s.put(t, name, s.object(name))
	}
	var wg sync.WaitGroup
	for i := range readers {
		wg.Go(func() {
			name := fmt.Sprintf("conformance/concurrent-%d", i%secrets)
			s.wantObject(t, providers.Ref{Path: name}, s.object(name))
		})
	}
	wg.Wait()
}

// testCancelled wants the error of the context and no class: whoever gave up
// has learned nothing about the store.
func (s *suite) testCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.read(ctx, providers.Ref{Path: "conformance/one"})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Read with a cancelled context: got %v, want context.Canceled", err)
	}
	for _, class := range []error{providers.ErrNotFound, providers.ErrDenied, providers.ErrThrottled, providers.ErrInvalid, providers.ErrUnavailable} {
		if errors.Is(err, class) {
			t.Errorf("Read with a cancelled context: got %v, which is also %q", err, class)
		}
	}
}

func (s *suite) testErrors(t *testing.T) {
	if len(s.errors) == 0 {
		t.Fatal("no Read has failed: nothing was looked at")
	}
	for _, err := range s.errors {
		text := fmt.Sprintf("%v %+v %#v", err, err, err)
		for _, secret := range append([]string{s.canary}, s.Credentials...) {
			if strings.Contains(text, secret) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(secret))) {
				t.Error("an error holds a value or a credential")
			}
		}
	}
}
