package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
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

// selection is what of a commit is wanted.
type selection struct {
	ignore *string  // rules on top of the others
	sparse []string // folders; none means all
}

// reader makes a Tree of a commit's tree.
type reader struct {
	sparse  []string // clean paths of the folders to read; none means all
	objects storer.EncodedObjectStorer
	match   gitignore.Matcher
	out     *collector
	kept    []plumbing.EncodedObject // the commit, and every folder
	seen    int                      // entries of folders
	links   []link
}

// read returns the files of a commit but for those that Flux leaves out by
// default, that a .sourceignore file names, or that spec.ignore names, in this
// order: later rules win. Submodules are left out. Files that previous has need
// not be among the objects.
func read(objects storer.EncodedObjectStorer, commit plumbing.Hash, sel selection, previous *Tree) (*checkout, error) {
	raw, err := objects.EncodedObject(plumbing.CommitObject, commit)
	if err != nil {
		return nil, fmt.Errorf("read commit %s: %w", commit, err)
	}
	c, err := object.DecodeCommit(objects, raw)
	if err != nil {
		return nil, fmt.Errorf("read commit %s: %w", commit, err)
	}
	r := &reader{objects: objects, out: newCollector(previous), kept: []plumbing.EncodedObject{raw}}
	patterns, err := r.patterns(c.TreeHash, nil)
	if err != nil {
		return nil, err
	}
	if sel.ignore != nil {
		patterns = append(patterns, sourceignore.ReadPatterns(strings.NewReader(*sel.ignore), nil)...)
	}
	r.match = sourceignore.NewDefaultMatcher(patterns, nil)
	if r.sparse, err = r.folderNames(c, sel.sparse); err != nil {
		return nil, err
	}
	if err := r.folder(c.TreeHash, nil); err != nil {
		return nil, err
	}
	modules, err := r.modules(c.TreeHash)
	if err != nil {
		return nil, err
	}
	tree, err := r.out.tree()
	return &checkout{commit: commit, signed: c, kept: r.kept, tree: tree, links: r.links, modules: modules}, err
}

// checkout is what is kept of a commit: its files, and the objects that itself
// and its folders are, so that the next fetch need not bring them again.
type checkout struct {
	commit plumbing.Hash
	signed *object.Commit
	tag    *object.Tag              // that was fetched; nil for a commit alone
	kept   []plumbing.EncodedObject // the commit itself, and every folder
	tree   *Tree

	links   []link // submodules
	modules []byte // what .gitmodules says of them
}

// modules reads the .gitmodules file, if there are submodules.
func (r *reader) modules(root plumbing.Hash) ([]byte, error) {
	if len(r.links) == 0 {
		return nil, nil
	}
	tree, err := r.open(root, nil)
	if err != nil {
		return nil, err
	}
	for _, e := range tree.Entries {
		if e.Name == modulesFile && e.Mode.IsFile() && e.Mode != filemode.Symlink {
			return r.small(e.Hash)
		}
	}
	return nil, nil
}

// folderNames returns clean paths of the folders that spec.sparseCheckout names,
// each of which must be there.
func (r *reader) folderNames(c *object.Commit, folders []string) ([]string, error) {
	var names []string
	for i, folder := range folders {
		name := strings.TrimPrefix(path.Clean("/"+folder), "/")
		if name == "" {
			return nil, nil // the root: everything
		}
		root, err := r.open(c.TreeHash, nil)
		if err != nil {
			return nil, err
		}
		if _, err := root.Tree(name); err != nil {
			return nil, fmt.Errorf("spec.sparseCheckout[%d]: the repository has no folder %q", i, folder)
		}
		names = append(names, name)
	}
	return names, nil
}

// selected reports whether a path is within a folder to read, or, for a folder,
// on the way to one. As with git sparse-checkout, the files of the root are.
func (r *reader) selected(name []string, dir bool) bool {
	if len(r.sparse) == 0 || len(name) == 1 && !dir {
		return true
	}
	at := strings.Join(name, "/") + "/"
	for _, s := range r.sparse {
		if strings.HasPrefix(at, s+"/") || dir && strings.HasPrefix(s+"/", at) {
			return true
		}
	}
	return false
}

// open reads a folder.
func (r *reader) open(hash plumbing.Hash, at []string) (*object.Tree, error) {
	tree, err := object.GetTree(r.objects, hash)
	if err != nil {
		return nil, fmt.Errorf("read folder %q: %w", strings.Join(at, "/"), err)
	}
	return tree, nil
}

// enter opens a folder and keeps it.
func (r *reader) enter(hash plumbing.Hash, at []string) (*object.Tree, error) {
	if len(at) > maxDepth {
		return nil, fmt.Errorf("%s: folders lie more than %d deep", strings.Join(at, "/"), maxDepth)
	}
	raw, err := r.objects.EncodedObject(plumbing.TreeObject, hash)
	if err != nil {
		return nil, fmt.Errorf("read folder %q: %w", strings.Join(at, "/"), err)
	}
	r.kept = append(r.kept, raw)
	tree, err := r.open(hash, at)
	if err != nil {
		return nil, err
	}
	// The same folder may be in a repository a million times, for free.
	if r.seen += len(tree.Entries) + 1; r.seen > maxEntries {
		return nil, fmt.Errorf("%w: there are more than %d files and folders", errTooLarge, maxEntries)
	}
	return tree, nil
}

// maxEntries is how many files and folders a repository may have, with those
// that are left out. The Linux kernel has 95,000.
const maxEntries = 300_000

// patterns collects the .sourceignore files, the outer before the inner.
func (r *reader) patterns(hash plumbing.Hash, at []string) ([]gitignore.Pattern, error) {
	tree, err := r.enter(hash, at)
	if err != nil {
		return nil, err
	}
	all, err := r.own(tree, at)
	if err != nil {
		return nil, err
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

// own returns the rules of the .sourceignore file of one folder.
func (r *reader) own(tree *object.Tree, at []string) ([]gitignore.Pattern, error) {
	for _, e := range tree.Entries {
		if e.Name != sourceignore.IgnoreFile || !e.Mode.IsFile() || e.Mode == filemode.Symlink {
			continue
		}
		text, err := r.small(e.Hash)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", strings.Join(append(slices.Clip(at), e.Name), "/"), err)
		}
		return sourceignore.ReadPatterns(bytes.NewReader(text), at), nil
	}
	return nil, nil
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
		if e.Mode == filemode.Submodule {
			r.links = append(r.links, link{strings.Join(name, "/"), e.Hash})
			continue
		}
		if r.match.Match(name, e.Mode == filemode.Dir) || !r.selected(name, e.Mode == filemode.Dir) {
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
	if o, ok := r.objects.(*objects); ok && o.skipped && errors.Is(err, plumbing.ErrObjectNotFound) {
		return fmt.Errorf("%w: %s has more than %d bytes: leave it out with spec.ignore or a .sourceignore file", errTooLarge, name, maxFile)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return r.out.add(name, mode, e.Hash, blob.Size, blob.Reader)
}
