package render

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	kustomize "github.com/fluxcd/pkg/apis/kustomize"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/resource"
	ktypes "sigs.k8s.io/kustomize/api/types"
)

// Options says what to render, and what to change on the way. The zero value
// renders the root of the tree as it is.
type Options struct {
	Path            string // folder within the tree; empty is its root
	TargetNamespace string
	NamePrefix      string
	NameSuffix      string
	Components      []string
	Patches         []kustomize.Patch
	Images          []kustomize.Image
	BuildMetadata   []string // kustomize's buildMetadata: originAnnotations, transformerAnnotations

	// IgnoreMissingComponents leaves out Components that are no folders.
	IgnoreMissingComponents bool

	// Substitute replaces ${variables} in the built objects; nil leaves them.
	Substitute map[string]string

	// Secret names the variables whose values come from Secrets: text with one
	// of them is not in clear in the source.
	Secret map[string]bool
	// FindPlaintext fills Result.Plaintext.
	FindPlaintext bool
	// FindSuspects fills Result.Suspects, by all rules but those in
	// IgnoreRules.
	FindSuspects bool
	IgnoreRules  []string // of the package detect

	// Opener opens encrypted files as they are read, and encrypted values of
	// Secrets. Nil opens nothing.
	Opener Opener
}

// Result is what a render made.
type Result struct {
	Objects   []*unstructured.Unstructured
	Reads     Reads       // what it was made from, also of a render that failed
	Plaintext []Plaintext // Secrets whose values are in clear in the source
	Suspects  []Suspect   // other values in clear that look like credentials
}

// ErrPath says that Options.Path is not a folder of the tree.
var ErrPath = errors.New("no such folder")

// maxObjects bounds one render: its inventory must fit into the status of one
// object, of which etcd stores at most 1.5 MiB; an entry takes about 100 bytes.
const maxObjects = 10000

// Render builds the objects of one folder.
func Render(tree fs.FS, o Options) (Result, error) {
	files := newReadOnly(tree, o.Opener)
	result := Result{Reads: files.seen}
	dir := name(o.Path)
	if info, err := files.stat(dir); err != nil || !info.IsDir() {
		return result, fmt.Errorf("path %q: %w in the source", o.Path, ErrPath)
	}
	objects, err := files.build(dir, o)
	if err != nil {
		return result, err
	}
	if err := openSecrets(objects, o.Opener); err != nil {
		return result, err
	}
	if err := refuseEncrypted(objects, o.Opener != nil); err != nil {
		return result, err
	}
	files.guard(dir, o, objects, &result)
	result.Objects, err = finish(objects, o.Substitute)
	return result, err
}

// build makes the objects as they are before anything is substituted.
func (r *readOnly) build(dir string, o Options) ([]*unstructured.Unstructured, error) {
	objects, err := r.shared(dir, o)
	if errors.Is(err, errSchema) {
		return r.alone(dir, o)
	}
	return objects, err
}

// once is one try at it.
func (r *readOnly) once(dir string, o Options) ([]*unstructured.Unstructured, error) {
	objects, ok, err := r.plain(dir, o)
	if r.refused != nil {
		return nil, r.refused
	}
	if ok || err != nil {
		return objects, err
	}
	if err := r.prepare(dir, o); err != nil {
		return nil, err
	}
	built, err := build(r, dir)
	if err != nil {
		return nil, err
	}
	return collect(built)
}

// build runs kustomize. Its library panics on some malformed input; that is
// an error of the input, not of this process.
func build(files *readOnly, dir string) (built resmap.ResMap, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("kustomize cannot build %s: %v", dir, p)
		}
	}()
	if !files.schemas {
		loaded.Do(load)
	}
	options := krusty.MakeDefaultOptions() // plugins that run programs are off
	options.LoadRestrictions = ktypes.LoadRestrictionsNone
	built, err = krusty.MakeKustomizer(options).Run(files, "/"+strings.TrimPrefix(dir, "."))
	if files.refused != nil {
		return nil, fmt.Errorf("kustomize cannot build %s: %w", dir, files.refused)
	}
	if err != nil {
		return nil, fmt.Errorf("kustomize cannot build %s: %w", dir, err)
	}
	return built, nil
}

func tooMany(n int) error {
	return fmt.Errorf("%d objects are more than the %d that one render may have: split the path", n, maxObjects)
}

// collect returns the built objects, lists replaced by their items.
func collect(built resmap.ResMap) ([]*unstructured.Unstructured, error) {
	if n := built.Size(); n > maxObjects {
		return nil, tooMany(n)
	}
	objects := make([]*unstructured.Unstructured, 0, built.Size())
	for _, r := range built.Resources() {
		o, err := toObject(r)
		if err != nil {
			return nil, err
		}
		objects = append(objects, o)
	}
	return flatten(objects)
}

// finish substitutes variables and checks that the objects are complete.
func finish(objects []*unstructured.Unstructured, vars map[string]string) ([]*unstructured.Unstructured, error) {
	if vars != nil {
		for _, o := range objects {
			if err := substitute(o, vars); err != nil {
				return nil, fmt.Errorf("%s: %w", Name(o), err)
			}
		}
	}
	return objects, complete(objects)
}

func toObject(r *resource.Resource) (*unstructured.Unstructured, error) {
	raw, err := r.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.CurId(), err)
	}
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(raw); err != nil {
		return nil, fmt.Errorf("%s: %w", r.CurId(), err)
	}
	return o, nil
}

// flatten replaces lists by their items.
func flatten(objects []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	var flat []*unstructured.Unstructured
	for _, o := range objects {
		if !o.IsList() {
			flat = append(flat, o)
			continue
		}
		list, err := o.ToList()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", Name(o), err)
		}
		for i := range list.Items {
			flat = append(flat, &list.Items[i])
		}
	}
	return flat, nil
}

// complete checks that each object has what every object must have, and that
// none is there twice.
func complete(objects []*unstructured.Unstructured) error {
	seen := map[string]bool{}
	for _, o := range objects {
		if o.GetAPIVersion() == "" || o.GetKind() == "" || o.GetName() == "" {
			return fmt.Errorf("%s: apiVersion, kind and metadata.name are required", Name(o))
		}
		id := o.GroupVersionKind().GroupKind().String() + "|" + o.GetNamespace() + "|" + o.GetName()
		if seen[id] {
			return fmt.Errorf("%s: is defined twice", Name(o))
		}
		seen[id] = true
	}
	return nil
}

// Name is how messages name an object: Kind/namespace/name, as Flux does.
func Name(o *unstructured.Unstructured) string {
	return path.Join(o.GetKind(), o.GetNamespace(), o.GetName())
}
