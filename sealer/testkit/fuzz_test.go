package testkit

import (
	"io/fs"
	"testing"

	"github.com/lockstep-dev/lockstep/test/seeds"
)

// vectorFiles returns some of the files that a pattern finds.
func vectorFiles(f *testing.F, from fs.FS, pattern string) []string {
	f.Helper()
	names, err := fs.Glob(from, pattern)
	if err != nil {
		f.Fatal(err)
	}
	var texts []string
	for i := 0; i < len(names); i += 10 {
		text, err := fs.ReadFile(from, names[i])
		if err != nil {
			f.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	return texts
}

// FuzzVector checks that a file of envelope 1 is read or refused, and that what
// is read is whole.
func FuzzVector(f *testing.F) {
	seeds.Add(f, vectorFiles(f, files, "vectors/*.txtar")...)
	f.Fuzz(func(t *testing.T, text string) {
		v, err := parse([]byte(text))
		if err == nil && (v.Key == nil || v.check() != nil) {
			t.Errorf("%q is read as %+v", text, v)
		}
	})
}

// FuzzVector2 is FuzzVector for envelope 2.
func FuzzVector2(f *testing.F) {
	seeds.Add(f, vectorFiles(f, files2, "envelope2/*.txtar")...)
	f.Fuzz(func(t *testing.T, text string) {
		v, err := parse2([]byte(text))
		if err == nil && (v.Expect == "" || v.Scope == "") {
			t.Errorf("%q is read as %+v", text, v)
		}
	})
}
