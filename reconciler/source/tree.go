package source

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // G505: Git's object names, not a signature of ours
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// Limits of a tree. They bound the memory of the controller, which holds the
// newest tree of each source.
const (
	maxFiles    = 100_000   // the Linux kernel has 90,000
	maxFile     = 16 << 20  // bytes; the API server takes objects of 1.5 MiB
	maxTree     = 256 << 20 // bytes of all files
	maxPathName = 4096      // bytes; PATH_MAX of Linux
)

// Tree is a file tree that never changes, in memory. It is an fs.FS. A
// symbolic link is listed but cannot be opened: it is never followed.
type Tree struct {
	files  map[string]*file
	dirs   map[string][]fs.DirEntry // sorted by name; the root is "."
	digest string
	size   int64
}

type file struct {
	name string // the last element of its path
	mode fs.FileMode
	hash [sha1.Size]byte // Git's name of the content
	data []byte
}

// NewTree makes a tree of regular files by their paths.
func NewTree(files map[string]string) (*Tree, error) {
	b := newCollector(nil)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		content := []byte(files[name])
		hash := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(content)), content...)) //nolint:gosec // G401: as above
		err := b.add(name, 0o444, hash, int64(len(content)), func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil })
		if err != nil {
			return nil, err
		}
	}
	return b.tree()
}

// Digest is the SHA-256 of all paths, modes and contents, as "sha256:" and 64
// hex digits. Trees with equal digests are equal.
func (t *Tree) Digest() string { return t.digest }

// Size is the sum of the sizes of all files, in bytes.
func (t *Tree) Size() int64 { return t.size }

// collector gathers the files of a tree. Content that the previous tree has is
// shared with it, wherever it was.
type collector struct {
	files map[string]*file
	known map[[sha1.Size]byte][]byte // by Git's name
	size  int64
}

func newCollector(previous *Tree) *collector {
	return &collector{files: map[string]*file{}, known: previous.content()}
}

// content returns what all files hold, by Git's name for it. It is not to be
// changed. t may be nil.
func (t *Tree) content() map[[sha1.Size]byte][]byte {
	all := map[[sha1.Size]byte][]byte{}
	if t != nil {
		for _, f := range t.files {
			all[f.hash] = f.data
		}
	}
	return all
}

// add adds a file of a size, which open reads unless the content is known.
func (b *collector) add(name string, mode fs.FileMode, hash [sha1.Size]byte, size int64, open func() (io.ReadCloser, error)) error {
	if err := checkPath(name); err != nil {
		return err
	}
	if size > maxFile {
		return fmt.Errorf("%w: %s has %d bytes, more than %d: leave it out with spec.ignore or a .sourceignore file", errTooLarge, name, size, maxFile)
	}
	if b.size += size; b.size > maxTree {
		return fmt.Errorf("%w: the files have more than %d bytes in all: leave some out with spec.ignore or a .sourceignore file", errTooLarge, maxTree)
	}
	if len(b.files) == maxFiles {
		return fmt.Errorf("%w: there are more than %d files: leave some out with spec.ignore or a .sourceignore file", errTooLarge, maxFiles)
	}
	f := &file{name: path.Base(name), mode: mode, hash: hash}
	if data, ok := b.known[hash]; ok {
		f.data = data
		b.files[name] = f
		return nil
	}
	r, err := open()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer r.Close()
	f.data = make([]byte, size)
	if _, err = io.ReadFull(r, f.data); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	b.files[name] = f
	return nil
}

// tree makes the tree. A path cannot be a file and a folder at once.
func (b *collector) tree() (*Tree, error) {
	t := &Tree{files: b.files, dirs: map[string][]fs.DirEntry{".": nil}, size: b.size}
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(b.files)) {
		f := b.files[name]
		fmt.Fprintf(sum, "%o %s %x\n", f.mode, name, f.hash)
		t.list(name, f)
	}
	for _, entries := range t.dirs {
		slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	}
	for name := range t.dirs {
		if _, ok := b.files[name]; ok {
			return nil, fmt.Errorf("the path %q is a file and a folder at once", name)
		}
	}
	t.digest = "sha256:" + hex.EncodeToString(sum.Sum(nil))
	return t, nil
}

// list enters f into its directory, and that into its own, up to the root.
func (t *Tree) list(name string, entry fs.FileInfo) {
	dir := path.Dir(name)
	_, known := t.dirs[dir]
	t.dirs[dir] = append(t.dirs[dir], fs.FileInfoToDirEntry(entry))
	if !known {
		t.list(dir, directory(path.Base(dir)))
	}
}

// checkPath refuses what Git would not check out: a path that leads out of the
// tree, or one that some system would take for Git's own folder.
//
// Source: https://git-scm.com/docs/git-config#Documentation/git-config.txt-coreprotectNTFS
func checkPath(name string) error {
	if !fs.ValidPath(name) || name == "." || strings.ContainsAny(name, "\\\x00") || len(name) > maxPathName {
		return fmt.Errorf("the path %q is not one that a repository may hold", name)
	}
	for element := range strings.SplitSeq(name, "/") {
		if isDotGit(element) {
			return fmt.Errorf("the path %q has %q in it, which stands for Git's own folder", name, element)
		}
	}
	return nil
}

// isDotGit reports whether some file system takes name for ".git": it may
// fold case, drop dots and spaces at the end (NTFS), know it by its short name,
// end it at a stream's colon, or skip characters that have no width (HFS+).
func isDotGit(name string) bool {
	name = strings.Map(func(r rune) rune {
		if r >= 0x200c && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x206a && r <= 0x206f || r == 0xfeff {
			return -1
		}
		return r
	}, name)
	name, _, _ = strings.Cut(strings.ToLower(name), ":")
	name = strings.TrimRight(name, ". ")
	return name == ".git" || name == "git~1"
}

// Open implements fs.FS.
func (t *Tree) Open(name string) (fs.File, error) {
	info, err := t.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return &openDir{info: info, entries: t.dirs[name]}, nil
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errLink}
	}
	return &openFile{info: info, Reader: bytes.NewReader(t.files[name].data)}, nil
}

// Stat implements fs.StatFS. It does not follow symbolic links.
func (t *Tree) Stat(name string) (fs.FileInfo, error) {
	if f, ok := t.files[name]; ok {
		return f, nil
	}
	if _, ok := t.dirs[name]; ok {
		return directory(path.Base(name)), nil
	}
	return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
}

// ReadFile implements fs.ReadFileFS: the caller may change what it gets.
func (t *Tree) ReadFile(name string) ([]byte, error) {
	f, ok := t.files[name]
	switch {
	case !ok:
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	case f.mode&fs.ModeSymlink != 0:
		return nil, &fs.PathError{Op: "read", Path: name, Err: errLink}
	default:
		return bytes.Clone(f.data), nil
	}
}

var errLink = fmt.Errorf("a symbolic link, which is not followed: %w", fs.ErrInvalid)

// ReadDir implements fs.ReadDirFS.
func (t *Tree) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, ok := t.dirs[name]
	if !ok {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	return slices.Clone(entries), nil
}

// Name, Size, Mode, ModTime, IsDir and Sys implement fs.FileInfo.

func (f *file) Name() string       { return f.name }
func (f *file) Size() int64        { return int64(len(f.data)) }
func (f *file) Mode() fs.FileMode  { return f.mode }
func (f *file) ModTime() time.Time { return time.Time{} }
func (f *file) IsDir() bool        { return false }
func (f *file) Sys() any           { return nil }

// directory is the name of one.
type directory string

func (d directory) Name() string     { return string(d) }
func (directory) Size() int64        { return 0 }
func (directory) Mode() fs.FileMode  { return fs.ModeDir | 0o555 }
func (directory) ModTime() time.Time { return time.Time{} }
func (directory) IsDir() bool        { return true }
func (directory) Sys() any           { return nil }

type openFile struct {
	*bytes.Reader
	info fs.FileInfo
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFile) Close() error               { return nil }

type openDir struct {
	info    fs.FileInfo
	entries []fs.DirEntry // not read yet
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *openDir) Close() error               { return nil }

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.info.Name(), Err: fs.ErrInvalid}
}

// ReadDir implements fs.ReadDirFile.
func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n > 0 && len(d.entries) == 0 {
		return nil, io.EOF
	}
	if n <= 0 || n > len(d.entries) {
		n = len(d.entries)
	}
	entries := slices.Clone(d.entries[:n])
	d.entries = d.entries[n:]
	return entries, nil
}
