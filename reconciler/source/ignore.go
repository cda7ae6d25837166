package source

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/fluxcd/pkg/sourceignore"
	"github.com/fluxcd/pkg/sourceignore/gitignore"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// maxDepth bounds how deep folders may lie in each other: far deeper than any
// repository, and the recursion stays small.
const maxDepth = 100

// reader makes a Tree of a commit's tree.
type reader struct {
	objects storer.EncodedObjectStorer
	match   gitignore.Matcher
	out     *collector
	folders []plumbing.EncodedObject // every one that was read
}

// read returns the files of a commit but for those that Flux leaves out by
// default, that a .sourceignore file names, or that spec.ignore names, in this
// order: later rules win. Submodules are left out. Files that previous has need
// not be among the objects.
func read(objects storer.EncodedObjectStorer, commit plumbing.Hash, ignore *string, previous *Tree) (*checkout, error) {
	c, err := object.GetCommit(objects, commit)
	if err != nil {
		return nil, fmt.Errorf("read commit %s: %w", commit, err)
	}
	r := &reader{objects: objects, out: newCollector(previous)}
	patterns, err := r.patterns(c.TreeHash, nil)
	if err != nil {
		return nil, err
	}
	if ignore != nil {
		patterns = append(patterns, sourceignore.ReadPatterns(strings.NewReader(*ignore), nil)...)
	}
	r.match = sourceignore.NewDefaultMatcher(patterns, nil)
	if err := r.folder(c.TreeHash, nil); err != nil {
		return nil, err
	}
	return &checkout{commit: commit, folders: r.folders, tree: r.out.tree()}, nil
}

// checkout is what is kept of a commit: its files, and the objects that its
// folders are, so that the next fetch need not bring them again.
type checkout struct {
	commit  plumbing.Hash
	folders []plumbing.EncodedObject
	tree    *Tree
}

// open reads a folder.
func (r *reader) open(hash plumbing.Hash, at []string) (*object.Tree, error) {
	tree, err := object.GetTree(r.objects, hash)
	if err != nil {
		return nil, fmt.Errorf("read folder %q: %w", strings.Join(at, "/"), err)
	}
	return tree, nil
}

// patterns collects the .sourceignore files, the outer before the inner.
func (r *reader) patterns(hash plumbing.Hash, at []string) ([]gitignore.Pattern, error) {
	if len(at) > maxDepth {
		return nil, fmt.Errorf("%s: folders lie more than %d deep", strings.Join(at, "/"), maxDepth)
	}
	raw, err := r.objects.EncodedObject(plumbing.TreeObject, hash)
	if err != nil {
		return nil, fmt.Errorf("read folder %q: %w", strings.Join(at, "/"), err)
	}
	r.folders = append(r.folders, raw)
	tree, err := r.open(hash, at)
	if err != nil {
		return nil, err
	}
	var all []gitignore.Pattern
	for _, e := range tree.Entries {
		if e.Name == sourceignore.IgnoreFile && e.Mode.IsFile() && e.Mode != filemode.Symlink {
			text, err := r.small(e.Hash)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", strings.Join(append(at, e.Name), "/"), err)
			}
			all = append(all, sourceignore.ReadPatterns(bytes.NewReader(text), at)...)
		}
	}
	for _, e := range tree.Entries {
		if e.Mode != filemode.Dir {
			continue
		}
		inner, err := r.patterns(e.Hash, append(slices.Clip(at), e.Name))
		if err != nil {
			return nil, err
		}
		all = append(all, inner...)
	}
	return all, nil
}

// maxIgnore is the largest .sourceignore file that is read, in bytes: some
// ten thousand rules.
const maxIgnore = 1 << 20

func (r *reader) small(hash plumbing.Hash) ([]byte, error) {
	if data, ok := r.out.known[hash]; ok {
		return data, nil
	}
	blob, err := object.GetBlob(r.objects, hash)
	if err != nil {
		return nil, err
	}
	if blob.Size > maxIgnore {
		return nil, fmt.Errorf("it has %d bytes, more than %d", blob.Size, maxIgnore)
	}
	in, err := blob.Reader()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return io.ReadAll(in)
}

// folder adds the files of a folder that are not ignored.
func (r *reader) folder(hash plumbing.Hash, at []string) error {
	tree, err := r.open(hash, at)
	if err != nil {
		return err
	}
	for _, e := range tree.Entries {
		name := append(slices.Clip(at), e.Name)
		if e.Mode == filemode.Submodule || r.match.Match(name, e.Mode == filemode.Dir) {
			continue
		}
		if e.Mode == filemode.Dir {
			err = r.folder(e.Hash, name)
		} else {
			err = r.file(e, strings.Join(name, "/"))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) file(e object.TreeEntry, name string) error {
	mode, err := e.Mode.ToOSFileMode()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if data, ok := r.out.known[e.Hash]; ok {
		return r.out.add(name, mode, e.Hash, int64(len(data)), nil)
	}
	blob, err := object.GetBlob(r.objects, e.Hash)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return r.out.add(name, mode, e.Hash, blob.Size, blob.Reader)
}
