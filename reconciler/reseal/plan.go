// Package reseal seals again what Git holds: with the newest sealing key of the
// cluster, in the same place and scope, and with nothing else touched.
package reseal

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/lockstep-dev/lockstep/reconciler/reseal/rewrite"
	"github.com/lockstep-dev/lockstep/sealer"
)

// Limits of what is read, which bound the memory that it takes.
const (
	maxFile  = 16 << 20 // bytes; the API server takes objects of 1.5 MiB
	maxFiles = 100_000  // with SealedSecrets; the Linux kernel has 90,000 files in all
)

// Plan is what a file tree holds that is sealed.
type Plan struct {
	Files   []*File
	Skipped []Skipped
}

// File is one manifest with SealedSecrets.
type File struct {
	Path     string
	Manifest *rewrite.Manifest
}

// Skipped is a file that mentions SealedSecrets and cannot be read: a template
// of Helm, for example. It may need any key.
type Skipped struct {
	Path string
	Err  error
}

// Step is one item, and what became of it.
type Step struct {
	File   *File
	Object *rewrite.Object
	Item   *rewrite.Item
	At     sealer.Place
	Result
}

// Result is an item after a look at it.
type Result struct {
	From string // the fingerprint of the key that it was sealed with; empty if that cannot be known
	Next string // the value sealed again; empty if it is on the newest key
	Err  error  // why it was left alone
}

// Scan reads the manifests under paths of a file tree, each a file or a folder.
func Scan(ctx context.Context, tree fs.FS, paths ...string) (*Plan, error) {
	p := &Plan{}
	seen := map[string]bool{}
	visit := func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case d.IsDir() && d.Name() == ".git":
			return fs.SkipDir
		case seen[name] || !d.Type().IsRegular() || !isManifest(name):
			return nil
		}
		seen[name] = true
		return p.read(tree, name, d)
	}
	for _, root := range paths {
		if err := fs.WalkDir(tree, path.Clean(root), visit); err != nil {
			return nil, fmt.Errorf("read %s: %w", root, err)
		}
	}
	return p, nil
}

func isManifest(name string) bool {
	return slices.Contains([]string{".yaml", ".yml", ".json"}, path.Ext(name))
}

func (p *Plan) read(tree fs.FS, name string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	if info.Size() > maxFile {
		p.Skipped = append(p.Skipped, Skipped{name, fmt.Errorf("it has more than %d bytes", maxFile)})
		return nil
	}
	text, err := fs.ReadFile(tree, name)
	if err != nil {
		return err
	}
	if !rewrite.Mentions(text) {
		return nil
	}
	m, unreadable := rewrite.Parse(text)
	if unreadable != nil {
		p.Skipped = append(p.Skipped, Skipped{name, unreadable})
		return nil //nolint:nilerr // the plan names it, and the rest is looked at
	}
	if len(m.Objects) == 0 {
		return nil
	}
	if len(p.Files) == maxFiles {
		return fmt.Errorf("more than %d files have SealedSecrets: name some of them only", maxFiles)
	}
	p.Files = append(p.Files, &File{Path: name, Manifest: m})
	return nil
}

// Count returns how many objects there are.
func (p *Plan) Count() int {
	n := 0
	for _, f := range p.Files {
		n += len(f.Manifest.Objects)
	}
	return n
}

// Opener looks at the items of one SealedSecret, and seals again those that are
// not on the newest key. It has a Result for every item.
type Opener interface {
	Reseal(ctx context.Context, at sealer.Binding, items []*rewrite.Item) []Result
}

// Locator says where a SealedSecret is opened, if its manifest alone does not.
type Locator interface {
	Locate(o *rewrite.Object) (sealer.Binding, error)
}

// Seal looks at every item, on all processors, and puts what was sealed again
// into the manifests. Done is told of each object. It returns what became of
// every item, in the order of the files, and an error only if it was stopped.
func (p *Plan) Seal(ctx context.Context, open Opener, where Locator, done func()) ([]*Step, error) {
	type task struct {
		file   *File
		object *rewrite.Object
		steps  []*Step
	}
	var tasks []*task
	for _, f := range p.Files {
		for _, o := range f.Manifest.Objects {
			tasks = append(tasks, &task{file: f, object: o})
		}
	}
	next := make(chan *task)
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for t := range next {
				t.steps = steps(ctx, t.file, t.object, open, where)
				done()
			}
		})
	}
	for _, t := range tasks {
		if ctx.Err() != nil {
			break
		}
		next <- t
	}
	close(next)
	all.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var out []*Step
	for _, t := range tasks {
		out = append(out, t.steps...)
	}
	return out, nil
}

func steps(ctx context.Context, f *File, o *rewrite.Object, open Opener, where Locator) []*Step {
	at, err := where.Locate(o)
	results := make([]Result, len(o.Items))
	if err == nil {
		results = open.Reseal(ctx, at, o.Items)
	}
	var all []*Step
	for i, item := range o.Items {
		s := &Step{File: f, Object: o, Item: item, At: sealer.Place{Binding: at, Item: item.Name}, Result: results[i]}
		if err != nil {
			s.Err = err
		}
		if s.Next != "" {
			item.Replace(s.Next)
		}
		all = append(all, s)
	}
	return all
}

// Keys opens with keys that are at hand. It implements Opener.
type Keys struct {
	Ring *sealer.Keyring
	// Recipients are sealed for besides the newest key, in envelope 2.
	Recipients []sealer.Recipient
	// Known are public keys that stay with the values which were sealed for them.
	// Of envelope 2, a value is left alone that was sealed for others.
	Known []sealer.Recipient

	last atomic.Pointer[string] // the key that opened last, which is tried first
}

// Reseal implements Opener.
func (k *Keys) Reseal(_ context.Context, at sealer.Binding, items []*rewrite.Item) []Result {
	results := make([]Result, len(items))
	for i, item := range items {
		hint := ""
		if last := k.last.Load(); last != nil {
			hint = *last
		}
		results[i] = k.item(item.Value, sealer.Place{Binding: at, Item: item.Name}, hint)
		if from := results[i].From; from != "" && from != hint {
			k.last.Store(&from)
		}
	}
	return results
}

var errNoKey = errors.New("there is no sealing key to seal with")

func (k *Keys) item(text string, at sealer.Place, hint string) Result {
	newest, ok := k.Ring.Newest()
	if !ok {
		return Result{Err: errNoKey}
	}
	text = strings.TrimSpace(text)
	opened, err := k.Ring.OpenItemToReseal(text, at, hint)
	if err != nil {
		return Result{Err: err}
	}
	defer clear(opened.Value)
	r := Result{From: opened.Fingerprint}
	if opened.Fingerprint == newest.Fingerprint {
		return r
	}
	r.Next, r.Err = k.seal(text, opened.Value, at, newest)
	return r
}

// seal seals a value in the envelope that it was in.
func (k *Keys) seal(text string, value []byte, at sealer.Place, newest sealer.Key) (string, error) {
	if !sealer.IsEnvelope2(text) {
		sealed, err := sealer.Seal(&newest.Private.PublicKey, value, at.Label())
		return base64.StdEncoding.EncodeToString(sealed), err
	}
	if newest.Hybrid == nil {
		return "", errors.New("the newest sealing key has no key of envelope 2 yet")
	}
	others, err := k.Ring.Others(text, slices.Concat(k.Known, k.Recipients))
	if err != nil {
		return "", fmt.Errorf("%w: name them among the recipients", err)
	}
	return sealer.SealItem(value, at, slices.Concat([]sealer.Recipient{newest.Hybrid.Recipient}, others, k.Recipients)...)
}

// ByManifest locates by what the manifest says, and takes Namespace for those
// that say none. It implements Locator.
type ByManifest struct {
	Namespace string
	// Known is where values are in the cluster that the manifest holds, by
	// value: the manifest may lack a namespace, or have another name, which
	// Kustomize puts right. Nil knows none.
	Known map[string]sealer.Binding
}

// Locate implements Locator.
func (l ByManifest) Locate(o *rewrite.Object) (sealer.Binding, error) {
	for _, i := range o.Items {
		if at, ok := l.Known[strings.TrimSpace(i.Value)]; ok {
			return at, nil
		}
	}
	at := sealer.Binding{Namespace: o.Namespace, Name: o.Name, Scope: o.Scope}
	if at.Namespace == "" {
		at.Namespace = l.Namespace
	}
	switch {
	case at.Scope == sealer.Strict && at.Name == "":
		return at, errors.New("metadata.name is missing")
	case at.Scope != sealer.ClusterWide && at.Namespace == "":
		return at, errors.New("metadata.namespace is missing, and the cluster has no SealedSecret with these values: say the namespace")
	}
	return at, nil
}

// Needed returns, by fingerprint, how many items need a key that is not the
// newest, after the steps; and how many cannot be told.
func Needed(steps []*Step) (needed map[string]int, unknown int) {
	needed = map[string]int{}
	for _, s := range steps {
		switch {
		case s.Err != nil && s.From == "":
			unknown++
		case s.Err != nil || s.Next != "":
			needed[s.From]++
		}
	}
	return needed, unknown
}
