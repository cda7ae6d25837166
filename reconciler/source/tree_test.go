package source

import (
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

func TestTreeIsAFileSystem(t *testing.T) {
	tree, err := NewTree(map[string]string{"a.yaml": "a", "dir/b.yaml": "b", "dir/sub/c.yaml": "c", "other/d": ""})
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(tree, "a.yaml", "dir/b.yaml", "dir/sub/c.yaml", "other/d"); err != nil {
		t.Error(err)
	}
}

func TestTreeDigestNamesTheContent(t *testing.T) {
	digest := func(files map[string]string) string {
		t.Helper()
		tree, err := NewTree(files)
		if err != nil {
			t.Fatal(err)
		}
		return tree.Digest()
	}
	base := digest(map[string]string{"a": "1", "b": "2"})
	cases := map[string]struct {
		files map[string]string
		same  bool
	}{
		"Equal":   {map[string]string{"b": "2", "a": "1"}, true},
		"Content": {map[string]string{"a": "1", "b": "3"}, false},
		"Name":    {map[string]string{"a": "1", "c": "2"}, false},
		"Less":    {map[string]string{"a": "1"}, false},
		"Swapped": {map[string]string{"a": "2", "b": "1"}, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := digest(tc.files) == base; got != tc.same {
				t.Errorf("digest(%v) equal: got %t, want %t", tc.files, got, tc.same)
			}
		})
	}
}

func TestTreeDoesNotFollowLinks(t *testing.T) {
	c := newCollector(nil)
	link, err := NewTree(map[string]string{"x": "/etc/passwd"})
	if err != nil {
		t.Fatal(err)
	}
	f := link.files["x"]
	if err := c.add("link", fs.ModeSymlink|0o777, f.hash, f.Size(), func() (io.ReadCloser, error) { return link.Open("x") }); err != nil {
		t.Fatal(err)
	}
	tree, err := c.tree()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.ReadFile("link"); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "link") {
		t.Errorf("ReadFile of a link: got %v, want an error that says so", err)
	}
	if _, err := tree.Open("link"); err == nil {
		t.Error("Open of a link: got no error")
	}
}

func TestTreeRefusesPaths(t *testing.T) {
	cases := []string{"", ".", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "a\\b", "a\x00b", "./a",
		".git/config", ".GIT/config", "a/.git", "a/.git./x", "a/.git /x", "git~1/x", "GIT~1", ".git::$INDEX_ALLOCATION/x", ".g\u200cit/config",
		strings.Repeat("x", maxPathName+1)}
	for _, name := range cases {
		t.Run(name[:min(len(name), 20)], func(t *testing.T) {
			if _, err := NewTree(map[string]string{name: "x"}); err == nil {
				t.Errorf("NewTree with %q: got no error", name)
			}
		})
	}
	for _, name := range []string{".gitignore", ".github/x", "git", "a.git", "..a", "a b", "ü"} {
		if _, err := NewTree(map[string]string{name: "x"}); err != nil {
			t.Errorf("NewTree with %q: %v", name, err)
		}
	}
}

func FuzzCheckPath(f *testing.F) {
	for _, name := range []string{"a/b", "../x", ".git/x", "a\\b", ".g\u200cit"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if checkPath(name) != nil {
			return
		}
		if !fs.ValidPath(name) {
			t.Fatalf("checkPath(%q) accepts what leads out of the tree", name)
		}
		for element := range strings.SplitSeq(strings.ToLower(name), "/") {
			if element == ".git" || element == ".." {
				t.Fatalf("checkPath(%q) accepts %q", name, element)
			}
		}
	})
}
