package render

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// readOnly is a source tree as kustomize wants to see it. It is rooted at "/",
// cannot be written but for the overlay that this package makes, and keeps
// account of all that was looked at.
type readOnly struct {
	tree    fs.FS
	overlay map[string][]byte // files that stand in for those of the tree, by name within it
	seen    Reads
	refused error // the first file that must not be built with
	schemas bool  // files may bring schemas of their own: no other build runs

	opener         Opener            // nil opens nothing
	opened         map[string][]byte // what it made of files
	public, secret map[string]bool   // files that go into ConfigMaps, and into Secrets
	clear          clearValues       // of files that were not encrypted
}

func newReadOnly(tree fs.FS, opener Opener) *readOnly {
	return &readOnly{tree: tree, seen: Reads{}, opener: opener, opened: map[string][]byte{}, public: map[string]bool{}, secret: map[string]bool{}, clear: clearValues{}}
}

var errReadOnly = errors.New("the source tree is read only")

// name turns kustomize's path into one for io/fs: relative to the root, clean,
// and never above it.
func name(p string) string {
	n := strings.TrimPrefix(path.Clean("/"+filepath.ToSlash(p)), "/")
	if n == "" {
		return "."
	}
	return n
}

func (r *readOnly) stat(p string) (fs.FileInfo, error) {
	info, err := fs.Stat(r.tree, name(p))
	r.seen.note(name(p), err == nil, err == nil && info.IsDir(), nil)
	return info, err
}

func (r *readOnly) Exists(p string) bool {
	if _, ok := r.overlay[name(p)]; ok {
		return true
	}
	_, err := r.stat(p)
	return err == nil
}

func (r *readOnly) IsDir(p string) bool {
	if _, ok := r.overlay[name(p)]; ok {
		return false
	}
	info, err := r.stat(p)
	return err == nil && info.IsDir()
}

func (r *readOnly) CleanedAbs(p string) (filesys.ConfirmedDir, string, error) {
	abs := "/" + strings.TrimPrefix(name(p), ".")
	if r.IsDir(p) {
		return filesys.ConfirmedDir(path.Clean(abs)), "", nil
	}
	if !r.Exists(p) {
		return "", "", fmt.Errorf("%s: %w", name(p), fs.ErrNotExist)
	}
	return filesys.ConfirmedDir(path.Dir(abs)), path.Base(abs), nil
}

func (r *readOnly) ReadFile(p string) ([]byte, error) {
	n := name(p)
	data, ok := r.overlay[n]
	if !ok {
		var err error
		if data, err = fs.ReadFile(r.tree, n); err != nil {
			r.seen.note(n, false, false, nil)
			return nil, fmt.Errorf("%s: %w", n, err)
		}
		r.seen.note(n, true, false, data)
		if data, err = r.open(n, data); err != nil {
			r.refused = cmp.Or(r.refused, err)
			return nil, err
		}
	}
	if err := refuse(n, data, r.schemas); err != nil {
		// kustomize takes an error here for "no such file" and goes on.
		r.refused = cmp.Or(r.refused, err)
		return nil, err
	}
	return data, nil
}

func (r *readOnly) ReadDir(p string) ([]string, error) {
	names, err := list(r.tree, name(p))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name(p), err)
	}
	r.seen.note(name(p), true, true, []byte(strings.Join(names, "\x00")))
	return names, nil
}

func (r *readOnly) Glob(pattern string) ([]string, error) {
	dir := path.Dir(name(pattern))
	names, err := r.ReadDir(dir)
	if err != nil {
		return nil, nil //nolint:nilerr // as filepath.Glob: no such folder is no match
	}
	var matches []string
	for _, n := range names {
		ok, err := path.Match(path.Base(name(pattern)), n)
		if err != nil {
			return nil, fmt.Errorf("pattern %q: %w", pattern, err)
		}
		if ok {
			matches = append(matches, path.Join("/", dir, n))
		}
	}
	return matches, nil
}

func (r *readOnly) Walk(p string, walk filepath.WalkFunc) error {
	return fs.WalkDir(r.tree, name(p), func(n string, d fs.DirEntry, err error) error {
		if err != nil {
			return walk("/"+n, nil, err)
		}
		if d.IsDir() {
			if _, err := r.ReadDir(n); err != nil {
				return err
			}
		}
		info, err := d.Info()
		return walk("/"+n, info, err)
	})
}

// Open is for kustomize's own plugins only, which are off.
func (r *readOnly) Open(string) (filesys.File, error)   { return nil, errReadOnly }
func (r *readOnly) Create(string) (filesys.File, error) { return nil, errReadOnly }
func (r *readOnly) Mkdir(string) error                  { return errReadOnly }
func (r *readOnly) MkdirAll(string) error               { return errReadOnly }
func (r *readOnly) RemoveAll(string) error              { return errReadOnly }
func (r *readOnly) WriteFile(string, []byte) error      { return errReadOnly }

func list(tree fs.FS, dir string) ([]string, error) {
	entries, err := fs.ReadDir(tree, dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names, nil
}

// Reads is what a render looked at, so that it can be told whether another
// tree would give the same result.
type Reads map[string]read

// read is one thing looked at: nothing, a folder, or a file, with the hash of
// its content (of a folder: of its listing) if that mattered.
type read struct {
	exists, dir bool
	content     [sha256.Size]byte
}

func (r Reads) note(n string, exists, dir bool, content []byte) {
	was, ok := r[n]
	is := read{exists: exists, dir: dir}
	if content != nil {
		is.content = sha256.Sum256(content)
	} else if ok {
		is.content = was.content // a look at what was read before
	}
	r[n] = is
}

// Digest is equal for renders that looked at the same things.
func (r Reads) Digest() string {
	sum := sha256.New()
	for _, n := range slices.Sorted(maps.Keys(r)) {
		is := r[n]
		fmt.Fprintf(sum, "%q %t %t %x\n", n, is.exists, is.dir, is.content)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// Same reports whether a render of tree would look at the same things.
func (r Reads) Same(tree fs.FS) bool {
	for n, was := range r {
		if !was.same(tree, n) {
			return false
		}
	}
	return true
}

func (was read) same(tree fs.FS, n string) bool {
	info, err := fs.Stat(tree, n)
	if (err == nil) != was.exists {
		return false
	}
	if err != nil {
		return true
	}
	if info.IsDir() != was.dir {
		return false
	}
	if was.content == [sha256.Size]byte{} {
		return true
	}
	content, err := content(tree, n, was.dir)
	return err == nil && sha256.Sum256(content) == was.content
}

func content(tree fs.FS, n string, dir bool) ([]byte, error) {
	if !dir {
		return fs.ReadFile(tree, n)
	}
	names, err := list(tree, n)
	return []byte(strings.Join(names, "\x00")), err
}
