package keys

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/lockstep-dev/lockstep/cmd/internal/manifest"
	"github.com/lockstep-dev/lockstep/reconciler/reseal"
)

// tree is the manifests under the paths that the user named.
type tree struct {
	parts []part
}

// part is one path: a plan of the files in a folder.
type part struct {
	folder string
	plan   *reseal.Plan
}

// step is one item, and the path of its file from the working folder.
type step struct {
	*reseal.Step
	path string
}

// scan reads the manifests under paths, but for those that exclude matches.
func scan(ctx context.Context, paths, exclude []string) (*tree, error) {
	t := &tree{}
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, err
		}
		folder, root := p, "."
		if !info.IsDir() {
			folder, root = filepath.Dir(p), filepath.Base(p)
		}
		plan, err := reseal.Scan(ctx, os.DirFS(folder), root)
		if err != nil {
			return nil, err
		}
		plan.Files = slices.DeleteFunc(plan.Files, func(f *reseal.File) bool { return excluded(exclude, f.Path) })
		plan.Skipped = slices.DeleteFunc(plan.Skipped, func(s reseal.Skipped) bool { return excluded(exclude, s.Path) })
		t.parts = append(t.parts, part{folder, plan})
	}
	return t, nil
}

func (t *tree) count() int {
	n := 0
	for _, p := range t.parts {
		n += p.plan.Count()
	}
	return n
}

func (t *tree) skipped() []reseal.Skipped {
	var all []reseal.Skipped
	for _, p := range t.parts {
		for _, s := range p.plan.Skipped {
			all = append(all, reseal.Skipped{Path: filepath.Join(p.folder, filepath.FromSlash(s.Path)), Err: s.Err})
		}
	}
	return all
}

func (t *tree) seal(ctx context.Context, open reseal.Opener, where reseal.Locator, done func()) ([]*step, error) {
	var all []*step
	for _, p := range t.parts {
		steps, err := p.plan.Seal(ctx, open, where, done)
		if err != nil {
			return nil, err
		}
		for _, s := range steps {
			all = append(all, &step{s, filepath.Join(p.folder, filepath.FromSlash(s.File.Path))})
		}
	}
	return all, nil
}

// write replaces the files that changed, each in one step, and returns how many
// there were.
func (t *tree) write() (int, error) {
	n := 0
	for _, p := range t.parts {
		for _, f := range p.plan.Files {
			if !f.Manifest.Changed() {
				continue
			}
			path := filepath.Join(p.folder, filepath.FromSlash(f.Path))
			text, err := f.Manifest.Bytes()
			if err != nil {
				return n, fmt.Errorf("%s: %w", path, err)
			}
			if err := manifest.ReplaceFile(path, text, 0o644); err != nil {
				return n, err
			}
			n++
		}
	}
	return n, nil
}
