package testenv

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
)

// Stopper is what Share keeps until the package's tests are over.
type Stopper interface {
	Stop()
	// Keep makes Stop leave what helps to find out why a test failed.
	Keep()
	// Tail returns the last n lines of each log.
	Tail(n int) string
}

// Shared starts something once for all tests of a package.
type Shared[T Stopper] struct {
	start func(testing.TB) (T, error)
	once  sync.Once
	value T
	err   error
}

// running is what Main stops, the last started first.
var running struct {
	sync.Mutex
	all []Stopper
}

// Share returns a Shared that start makes on the first Get. It needs Main.
func Share[T Stopper](start func(testing.TB) (T, error)) *Shared[T] {
	return &Shared[T]{start: start}
}

// Get returns what is shared, started. It skips t under -short, and for what
// needs a C compiler where there is none, only: a part that does not start is a
// failure, or CI could lose its tests without a trace.
func (s *Shared[T]) Get(t testing.TB) T {
	t.Helper()
	if testing.Short() {
		t.Skip("starts real servers; not under -short")
	}
	s.once.Do(func() {
		if s.value, s.err = s.start(t); s.err != nil {
			return
		}
		running.Lock()
		defer running.Unlock()
		running.all = append(running.all, s.value)
	})
	if errors.Is(s.err, ErrNoCompiler) {
		t.Skip(s.err)
	}
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.value
}

// Main runs the tests of a package, stops what they shared, and exits. When a
// test failed it shows the end of every log and keeps the logs.
func Main(m *testing.M) {
	code := m.Run()
	running.Lock()
	for _, s := range slices.Backward(running.all) {
		if code != 0 {
			s.Keep()
			fmt.Fprint(os.Stderr, s.Tail(20))
		}
		s.Stop()
	}
	os.Exit(code)
}
