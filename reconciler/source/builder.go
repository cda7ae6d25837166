package source

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // G505: Git's object names, not a signature of ours
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/fluxcd/pkg/sourceignore"
	"github.com/fluxcd/pkg/sourceignore/gitignore"
)

// Builder makes a Tree of files that come one by one from a server that is not
// trusted. The zero value is empty. It refuses paths that lead out of the tree,
// and more than the limits of a tree.
type Builder struct {
	files map[string]*file
	large map[string]int64 // files that are too large to keep, by their size
	held  int64            // bytes of files
	read  int64            // bytes, with those that were thrown away
}

// maxRead is how many bytes are read to make a tree of, with those of files
// that are left out in the end.
const maxRead = 4 * maxTree

// MaxFile is how many bytes a file of a tree may have.
const MaxFile = maxFile

// Add adds a file of a size. A link's content is where it leads to.
func (b *Builder) Add(name string, mode fs.FileMode, size int64, content io.Reader) error {
	if err := checkPath(name); err != nil {
		return err
	}
	if _, ok := b.files[name]; ok || b.large[name] > 0 {
		return fmt.Errorf("the path %q is there twice", name)
	}
	if len(b.files)+len(b.large) >= maxEntries {
		return fmt.Errorf("%w: there are more than %d files", errTooLarge, maxEntries)
	}
	if b.read += size; size < 0 || b.read > maxRead {
		return fmt.Errorf("%w: the files have more than %d bytes in all, with those that are left out", errTooLarge, maxRead)
	}
	if b.files == nil {
		b.files, b.large = map[string]*file{}, map[string]int64{}
	}
	if size > maxFile {
		b.large[name] = size
		_, err := io.CopyN(io.Discard, content, size)
		return err
	}
	if b.held += size; b.held > maxTree {
		return fmt.Errorf("%w: the files have more than %d bytes in all", errTooLarge, maxTree)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(content, data); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	b.files[name] = newFile(name, mode, data)
	return nil
}

func newFile(name string, mode fs.FileMode, data []byte) *file {
	sum := sha1.New() //nolint:gosec // G401: as above
	fmt.Fprintf(sum, "blob %d\x00", len(data))
	sum.Write(data)
	f := &file{name: name[strings.LastIndexByte(name, '/')+1:], mode: mode, data: data}
	sum.Sum(f.hash[:0])
	return f
}

// Tree returns the tree of the files that are not left out: by Flux's defaults,
// by a .sourceignore file, or by ignore, the rules of the spec.
func (b *Builder) Tree(ignore *string) (*Tree, error) {
	match, err := b.matcher(ignore)
	if err != nil {
		return nil, err
	}
	for name, size := range b.large {
		if !ignored(match, name) {
			return nil, fmt.Errorf("%w: %s has %d bytes, more than %d: leave it out with spec.ignore or a .sourceignore file", errTooLarge, name, size, maxFile)
		}
	}
	all := newCollector(nil)
	for name, f := range b.files {
		if ignored(match, name) {
			continue
		}
		if err := all.share(name, f); err != nil {
			return nil, err
		}
	}
	return all.tree()
}

// matcher collects the rules, the outer before the inner.
func (b *Builder) matcher(ignore *string) (gitignore.Matcher, error) {
	var names []string
	for name, f := range b.files {
		if f.name == sourceignore.IgnoreFile && f.mode.IsRegular() {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		if n := strings.Count(a, "/") - strings.Count(b, "/"); n != 0 {
			return n
		}
		return strings.Compare(a, b)
	})
	var patterns []gitignore.Pattern
	for _, name := range names {
		f := b.files[name]
		if len(f.data) > maxIgnore {
			return nil, fmt.Errorf("%s has %d bytes, more than %d", name, len(f.data), maxIgnore)
		}
		at := strings.Split(name, "/")
		patterns = append(patterns, sourceignore.ReadPatterns(bytes.NewReader(f.data), at[:len(at)-1])...)
	}
	if ignore != nil {
		patterns = append(patterns, sourceignore.ReadPatterns(strings.NewReader(*ignore), nil)...)
	}
	return sourceignore.NewDefaultMatcher(patterns, nil), nil
}

// ignored reports whether a file, or a folder that it is in, is left out.
func ignored(match gitignore.Matcher, name string) bool {
	at := strings.Split(name, "/")
	for i := 1; i < len(at); i++ {
		if match.Match(at[:i], true) {
			return true
		}
	}
	return match.Match(at, false)
}

// Names are the paths of all files that were added, in order.
func (b *Builder) Names() []string { return slices.Sorted(maps.Keys(b.files)) }

// IgnoreFile is the name of the file with the rules of what is left out.
const IgnoreFile = sourceignore.IgnoreFile

// Ignore is a set of rules for files whose content is not known yet: Flux's
// defaults, and those of the .sourceignore file of the root.
type Ignore struct{ match gitignore.Matcher }

// NewIgnore reads the .sourceignore file of the root; nil if there is none.
func NewIgnore(text []byte) *Ignore {
	return &Ignore{sourceignore.NewDefaultMatcher(sourceignore.ReadPatterns(bytes.NewReader(text), nil), nil)}
}

// Ignores reports whether the file at a path is left out.
func (i *Ignore) Ignores(name string) bool { return ignored(i.match, name) }
