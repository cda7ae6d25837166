// Package fetch says which secrets an ExternalSecret needs to read, each once,
// and makes its values of what was read. It is pure.
package fetch

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// Errors of this package. Their text names fields, keys and properties, never
// values.
var (
	ErrUnsupported = errors.New("not supported by this version")
	ErrMalformed   = errors.New("malformed value")  // the store has a value, but not of the form that the spec needs
	ErrNoProperty  = errors.New("no such property") // the store has the secret, without the property
	ErrTooLarge    = errors.New("too large for a Secret")
)

// A Read is one thing to read from one store, or to ask of one generator.
type Read struct {
	Store     esv1.SecretStoreRef
	Ref       providers.Ref
	Metadata  bool              // of the secret, in place of its value
	Find      string            // a Query as JSON, in place of Ref
	Generator esv1.GeneratorRef // in place of all others
}

// A Query says which secrets a find takes.
type Query struct {
	Path string            `json:"path,omitempty"`
	Name string            `json:"name,omitempty"` // a regular expression
	Tags map[string]string `json:"tags,omitempty"`
}

// FindPath is where a find searches; "" is everywhere.
func (r Read) FindPath() string {
	var q Query
	if err := json.Unmarshal([]byte(r.Find), &q); err != nil {
		return ""
	}
	return q.Path
}

// Plain reports whether r reads the value of one secret, and so can be read
// together with others.
func (r Read) Plain() bool {
	return !r.Metadata && r.Find == "" && r.Generator == (esv1.GeneratorRef{})
}

// String names the read in messages.
func (r Read) String() string {
	if r.Find != "" {
		return "that find matches"
	}
	if r.Ref.Version == "" {
		return fmt.Sprintf("%q", r.Ref.Path)
	}
	return fmt.Sprintf("%q in version %q", r.Ref.Path, r.Ref.Version)
}

// A Result is what a Read gave: a value, or an error of package providers.
type Result struct {
	Value  providers.Value
	Values map[string]providers.Value // of a find or a generator, by name
	Until  time.Time                  // when what a generator made ends; zero is never
	Warn   []string                   // what there is to say of the settings of a generator
	Err    error
	At     time.Time // when the store was asked; zero if none was

	// Version names Value, if the store said it. Unchanged says that there is no
	// Value, because it is that of Version, which the asker has.
	Version   string
	Unchanged bool
}

// A Plan is what an ExternalSecret needs.
type Plan struct {
	// Reads are distinct, and in the order in which the spec names them.
	Reads []Read

	items    []item
	rendered map[string]string // spec.target.template.data
}

// Stored returns the reads that stores answer, without those of generators.
func (p *Plan) Stored() []Read {
	return slices.DeleteFunc(slices.Clone(p.Reads), func(r Read) bool { return r.Generator.Kind != "" })
}

// item is one entry of data or dataFrom.
type item struct {
	field string // path of its remoteRef
	read  Read
	ref   esv1.RemoteRef
	key   string // in the Secret; "" takes every key of the value
	steps []step // that change the keys
}

// New plans the reads of spec, or returns ErrUnsupported with the path of the
// field that cannot be served.
func New(spec *esv1.ExternalSecretSpec) (*Plan, error) {
	if err := supported(spec); err != nil {
		return nil, err
	}
	p := &Plan{}
	if t := spec.Target.Template; t != nil {
		p.rendered = t.Data
	}
	for i := range spec.DataFrom {
		entry, err := dataFrom(spec, i)
		if err != nil {
			return nil, err
		}
		p.add(entry)
	}
	for i := range spec.Data {
		d := &spec.Data[i]
		p.add(item{
			field: fmt.Sprintf("spec.data[%d].remoteRef", i),
			read:  readOf(spec, d.SourceRef, &d.RemoteRef),
			ref:   d.RemoteRef,
			key:   d.SecretKey,
		})
	}
	return p, nil
}

// dataFrom is one entry of spec.dataFrom.
func dataFrom(spec *esv1.ExternalSecretSpec, i int) (item, error) {
	d := &spec.DataFrom[i]
	field := fmt.Sprintf("spec.dataFrom[%d]", i)
	steps, err := newSteps(field, d.Rewrite)
	if err != nil {
		return item{}, err
	}
	switch {
	case d.Extract != nil:
		return item{field: field + ".extract", read: readOf(spec, d.SourceRef, d.Extract), ref: *d.Extract, steps: steps}, nil
	case d.Find != nil:
		query, err := queryOf(field, d.Find)
		if err != nil {
			return item{}, err
		}
		return item{field: field + ".find", read: Read{Store: StoreOf(spec, d.SourceRef), Find: query}, ref: esv1.RemoteRef{Conversion: d.Find.Conversion}, steps: steps}, nil
	default:
		ref := *d.SourceRef.GeneratorRef
		if ref.APIVersion == "" {
			ref.APIVersion = GeneratorVersion
		}
		return item{field: field + ".sourceRef.generatorRef", read: Read{Generator: ref}, steps: steps}, nil
	}
}

// GeneratorVersion is the apiVersion of a generatorRef that names none.
const GeneratorVersion = "generators.external-secrets.io/v1alpha1"

// queryOf writes a find as one string, the same for the same find.
func queryOf(field string, f *esv1.Find) (string, error) {
	q := Query{Tags: f.Tags}
	if f.Path != nil {
		q.Path = *f.Path
	}
	if f.Name != nil {
		q.Name = f.Name.RegExp
		if _, err := regexp.Compile(q.Name); err != nil {
			return "", fmt.Errorf("%s.find.name.regexp: %w: it is not a regular expression: correct it", field, providers.ErrInvalid)
		}
	}
	if f.Name == nil && len(f.Tags) == 0 && f.Path == nil {
		return "", fmt.Errorf("%s.find: %w: set name, tags or path: there is nothing to look for", field, providers.ErrInvalid)
	}
	text, err := json.Marshal(q)
	if err != nil {
		return "", fmt.Errorf("%s.find: %w: %w", field, providers.ErrInvalid, err)
	}
	return string(text), nil
}

// Stores returns the stores that spec names, each once, whether or not the
// rest of it is supported.
func Stores(spec *esv1.ExternalSecretSpec) []esv1.SecretStoreRef {
	found := map[esv1.SecretStoreRef]bool{}
	add := func(s *esv1.SourceRef) {
		if ref := StoreOf(spec, s); ref.Name != "" {
			found[ref] = true
		}
	}
	add(nil)
	for i := range spec.Data {
		add(spec.Data[i].SourceRef)
	}
	for i := range spec.DataFrom {
		add(spec.DataFrom[i].SourceRef)
	}
	return slices.SortedFunc(maps.Keys(found), func(a, b esv1.SecretStoreRef) int {
		switch {
		case a.Kind+"/"+a.Name < b.Kind+"/"+b.Name:
			return -1
		default:
			return 1
		}
	})
}

// Generators returns the generators that spec names.
func Generators(spec *esv1.ExternalSecretSpec) (refs []esv1.GeneratorRef) {
	for i := range spec.DataFrom {
		if s := spec.DataFrom[i].SourceRef; s != nil && s.GeneratorRef != nil {
			refs = append(refs, *s.GeneratorRef)
		}
	}
	return refs
}

func (p *Plan) add(i item) {
	if !slices.Contains(p.Reads, i.read) {
		p.Reads = append(p.Reads, i.read)
	}
	p.items = append(p.items, i)
}

func readOf(spec *esv1.ExternalSecretSpec, source *esv1.SourceRef, ref *esv1.RemoteRef) Read {
	return Read{Store: StoreOf(spec, source), Ref: providers.Ref{Path: ref.Key, Version: ref.Version}, Metadata: ref.MetadataPolicy == esv1.MetadataPolicyFetch}
}

// StoreOf returns the store of an entry whose sourceRef is source, with its kind
// spelled out.
func StoreOf(spec *esv1.ExternalSecretSpec, source *esv1.SourceRef) esv1.SecretStoreRef {
	ref := spec.SecretStoreRef
	if source != nil && source.SecretStoreRef != nil {
		ref = *source.SecretStoreRef
	}
	if ref.Kind == "" {
		ref.Kind = esv1.SecretStoreKind
	}
	return ref
}

// supported refuses what would otherwise be ignored.
func supported(spec *esv1.ExternalSecretSpec) error {
	if spec.Target.Manifest != nil {
		// It would let whoever may write an ExternalSecret make any object with
		// the controller's rights.
		return fmt.Errorf("spec.target.manifest is %w: remove it, and write a Secret; nothing was changed", ErrUnsupported)
	}
	for i := range spec.Data {
		if d := &spec.Data[i]; d.SourceRef != nil && d.SourceRef.GeneratorRef != nil {
			return fmt.Errorf("spec.data[%d].sourceRef.generatorRef is %w: move it to spec.dataFrom, which takes generators; nothing was changed", i, ErrUnsupported)
		}
	}
	for i := range spec.DataFrom {
		d := &spec.DataFrom[i]
		generates := d.SourceRef != nil && d.SourceRef.GeneratorRef != nil
		switch {
		case d.Extract == nil && d.Find == nil && !generates:
			return fmt.Errorf("spec.dataFrom[%d]: %w: set extract, find or sourceRef.generatorRef", i, providers.ErrInvalid)
		case d.Extract != nil && d.Find != nil, generates && (d.Extract != nil || d.Find != nil):
			return fmt.Errorf("spec.dataFrom[%d]: %w: set one of extract, find and sourceRef.generatorRef only", i, providers.ErrInvalid)
		}
	}
	return complete(spec)
}

// complete refuses specs in which something needed is missing or twice.
func complete(spec *esv1.ExternalSecretSpec) error {
	if len(spec.Data) == 0 && len(spec.DataFrom) == 0 {
		return fmt.Errorf("spec.data: %w: set data or dataFrom: there is nothing to read", providers.ErrInvalid)
	}
	seen := map[string]bool{}
	for i := range spec.Data {
		key := spec.Data[i].SecretKey
		// As in External Secrets Operator, the others may have it twice.
		if seen[key] && (spec.Target.DeletionPolicy == "" || spec.Target.DeletionPolicy == esv1.DeletionRetain) {
			return fmt.Errorf("spec.data[%d].secretKey: %w: %q is there already: remove one of them", i, providers.ErrInvalid, key)
		}
		seen[key] = true
		if StoreOf(spec, spec.Data[i].SourceRef).Name == "" {
			return fmt.Errorf("spec.data[%d]: %w: no store is named: set spec.secretStoreRef", i, providers.ErrInvalid)
		}
	}
	for i := range spec.DataFrom {
		if s := spec.DataFrom[i].SourceRef; s != nil && s.GeneratorRef != nil {
			continue
		}
		if StoreOf(spec, spec.DataFrom[i].SourceRef).Name == "" {
			return fmt.Errorf("spec.dataFrom[%d]: %w: no store is named: set spec.secretStoreRef", i, providers.ErrInvalid)
		}
	}
	return nil
}
