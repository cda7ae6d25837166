package providers_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-dev/lockstep/providers"
)

// flaky fails a number of times with err, and then works.
type flaky struct {
	fails, tries int
	err          error
}

func (f *flaky) try() error {
	if f.tries++; f.tries <= f.fails {
		return f.err
	}
	return nil
}

func (f *flaky) Read(context.Context, providers.Ref) (providers.Value, error) {
	return providers.NewValue([]byte("v")), f.try()
}

type (
	batches  struct{ *flaky }
	finder   struct{ *flaky }
	metadata struct{ *flaky }
	writer   struct{ *flaky }
)

func (b batches) ReadAll(_ context.Context, refs []providers.Ref) []providers.Result {
	results := make([]providers.Result, len(refs))
	for i, ref := range refs {
		results[i] = providers.Result{Value: providers.NewValue([]byte(ref.Path))}
		if ref.Path == "flaky" {
			results[i].Err = b.try()
		}
	}
	return results
}

func (f finder) Find(context.Context, providers.Query) ([]string, error) {
	return []string{"a"}, f.try()
}
func (m metadata) Metadata(context.Context, providers.Ref) (providers.Value, error) {
	return providers.NewValue([]byte("{}")), m.try()
}
func (w writer) Write(context.Context, providers.Target, providers.Value, json.RawMessage) error {
	return w.try()
}
func (w writer) Delete(context.Context, providers.Target) error { return w.try() }

var twice = providers.Retries{Max: 2, Wait: time.Second}

// retry opens r with tries.
func retry(t *testing.T, by providers.Retries, r providers.Reader) providers.Reader {
	t.Helper()
	opened, err := by.Open(func(context.Context, providers.Config) (providers.Reader, error) { return r, nil })(t.Context(), providers.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

func TestRetries(t *testing.T) {
	down := fmt.Errorf("x: %w", providers.ErrUnavailable)
	cases := map[string]struct {
		reason   string
		by       providers.Retries
		fails    int
		err      error
		deadline time.Duration
		tries    int
		works    bool
		took     time.Duration
	}{
		"Works":     {reason: "What works is not repeated.", by: twice, tries: 1, works: true},
		"Down":      {reason: "What may pass is tried again.", by: twice, fails: 2, err: down, tries: 3, works: true, took: 2 * time.Second},
		"Unknown":   {reason: "So is what nobody has a class for.", by: twice, fails: 1, err: errors.New("x"), tries: 2, works: true, took: time.Second},
		"StaysDown": {reason: "As often as is said.", by: twice, fails: 9, err: down, tries: 3, took: 2 * time.Second},
		"Zero":      {reason: "Never, unless it is said.", fails: 1, err: down, tries: 1},
		"Denied":    {reason: "A refusal stays one.", by: twice, fails: 9, err: providers.ErrDenied, tries: 1},
		"NotFound":  {reason: "So does an answer.", by: twice, fails: 9, err: providers.ErrNotFound, tries: 1},
		"Throttled": {reason: "Who asks for fewer requests gets no more.", by: twice, fails: 9, err: providers.Throttled{}, tries: 1},
		"TooLate":   {reason: "No try begins that would come too late.", by: twice, fails: 9, err: down, deadline: 1500 * time.Millisecond, tries: 2, took: time.Second},
		"Patience":  {reason: "Nobody waits for long.", by: providers.Retries{Max: 100, Wait: 3 * time.Second}, fails: 99, err: down, tries: 4, took: 9 * time.Second},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &flaky{fails: tc.fails, err: tc.err}
				r := retry(t, tc.by, f)
				ctx := t.Context()
				if tc.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tc.deadline)
					defer cancel()
				}
				start := time.Now()
				_, err := r.Read(ctx, providers.Ref{})
				if f.tries != tc.tries || (err == nil) != tc.works || time.Since(start) != tc.took || err != nil && !errors.Is(err, tc.err) {
					t.Errorf("%s\ngot %d tries in %s, %v, want %d in %s, and success %v", tc.reason, f.tries, time.Since(start), err, tc.tries, tc.took, tc.works)
				}
			})
		})
	}
}

func TestRetriesOfABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flaky{fails: 1, err: providers.ErrUnavailable}
		r, ok := retry(t, twice, batches{f}).(providers.BatchReader)
		if !ok {
			t.Fatal("a BatchReader with tries is none")
		}
		got := r.ReadAll(t.Context(), []providers.Ref{{Path: "a"}, {Path: "flaky"}, {Path: "b"}})
		for i, want := range []string{"a", "flaky", "b"} {
			if got[i].Err != nil || string(got[i].Value.Bytes()) != want {
				t.Errorf("result %d: got %s, %v, want %s", i, got[i].Value.Bytes(), got[i].Err, want)
			}
		}
		if f.tries != 2 {
			t.Errorf("the one that failed was read %d times, want 2", f.tries)
		}
	})
}

// TestRetriesKeepAbilities goes through every set of abilities.
func TestRetriesKeepAbilities(t *testing.T) {
	x := &flaky{}
	b, n, m, w := batches{x}, finder{x}, metadata{x}, writer{x}
	for name, r := range map[string]providers.Reader{
		"none": x, "b": b, "f": n, "m": m, "w": w,
		"bf": struct {
			*flaky
			batcher
			finding
		}{x, b, n},
		"bm": struct {
			*flaky
			batcher
			describing
		}{x, b, m},
		"bw": struct {
			*flaky
			batcher
			writing
		}{x, b, w},
		"fm": struct {
			*flaky
			finding
			describing
		}{x, n, m},
		"fw": struct {
			*flaky
			finding
			writing
		}{x, n, w},
		"mw": struct {
			*flaky
			describing
			writing
		}{x, m, w},
		"bfm": struct {
			*flaky
			batcher
			finding
			describing
		}{x, b, n, m},
		"bfw": struct {
			*flaky
			batcher
			finding
			writing
		}{x, b, n, w},
		"bmw": struct {
			*flaky
			batcher
			describing
			writing
		}{x, b, m, w},
		"fmw": struct {
			*flaky
			finding
			describing
			writing
		}{x, n, m, w},
		"bfmw": struct {
			*flaky
			batcher
			finding
			describing
			writing
		}{x, b, n, m, w},
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { wantAbilities(t, r, x) }) })
	}
}

// What the backends can do besides Read.
type (
	batcher interface {
		ReadAll(ctx context.Context, refs []providers.Ref) []providers.Result
	}
	finding interface {
		Find(ctx context.Context, query providers.Query) ([]string, error)
	}
	describing interface {
		Metadata(ctx context.Context, ref providers.Ref) (providers.Value, error)
	}
	writing interface {
		Write(ctx context.Context, to providers.Target, v providers.Value, metadata json.RawMessage) error
		Delete(ctx context.Context, to providers.Target) error
	}
)

// wantAbilities wants a reader with tries to be what it is without, and each
// of its requests to be tried again.
func wantAbilities(t *testing.T, r providers.Reader, x *flaky) {
	t.Helper()
	got := retry(t, twice, r)
	if without := providers.WithoutRetries(got); without != r || providers.WithoutRetries(r) != r {
		t.Errorf("without tries it is a %T, want the %T that it was", without, r)
	}
	wantSame[providers.BatchReader](t, r, got)
	wantSame[providers.Finder](t, r, got)
	wantSame[providers.MetadataReader](t, r, got)
	wantSame[providers.Writer](t, r, got)
	calls := []func() error{func() error { _, err := got.Read(t.Context(), providers.Ref{}); return err }}
	if f, ok := got.(finding); ok {
		calls = append(calls, func() error { _, err := f.Find(t.Context(), providers.Query{}); return err })
	}
	if m, ok := got.(describing); ok {
		calls = append(calls, func() error { _, err := m.Metadata(t.Context(), providers.Ref{}); return err })
	}
	if w, ok := got.(writing); ok {
		calls = append(calls, func() error { return w.Write(t.Context(), providers.Target{}, providers.Value{}, nil) },
			func() error { return w.Delete(t.Context(), providers.Target{}) })
	}
	for i, call := range calls {
		x.tries, x.fails, x.err = 0, 1, providers.ErrUnavailable
		if err := call(); err != nil || x.tries != 2 {
			t.Errorf("request %d: got %v after %d tries, want success at the second", i, err, x.tries)
		}
	}
}

func wantSame[Ability any](t *testing.T, before, after providers.Reader) {
	t.Helper()
	_, can := before.(Ability)
	if _, could := after.(Ability); could != can {
		t.Errorf("%T with tries: %v, without: %v", *new(Ability), could, can)
	}
}

// TestEveryAbilityIsRetried reads the package: an ability that is added to it
// needs a place in Retries, or it would be lost where retrySettings are set.
func TestEveryAbilityIsRetried(t *testing.T) {
	known := map[string]bool{"BatchReader": true, "Finder": true, "MetadataReader": true, "Writer": true, "Watcher": true} // Watcher: see WithoutRetries
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	found := 0
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			kind, ok := spec.Type.(*ast.InterfaceType)
			if !ok {
				return true
			}
			for _, m := range kind.Methods.List {
				if base, ok := m.Type.(*ast.Ident); ok && base.Name == "Reader" {
					found++
					if !known[spec.Name.Name] {
						t.Errorf("%s: %s is an ability that Retries does not know", file, spec.Name.Name)
					}
				}
			}
			return true
		})
	}
	if found < 4 {
		t.Errorf("%d abilities were found: the search is wrong", found)
	}
}
