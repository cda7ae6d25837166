package providers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Result is what reading one Ref gave: a value, or an error.
type Result struct {
	Value Value
	Err   error

	// Version names the value, if the store is a VersionLister and said it: the
	// same one has the same value.
	Version string
}

// A BatchReader is a Reader that reads many secrets with fewer requests.
type BatchReader interface {
	Reader
	// ReadAll returns one Result for each of refs, in their order. One that
	// fails does not keep the others from being read.
	ReadAll(ctx context.Context, refs []Ref) []Result
}

// ReadAll reads refs from r: in batches if it has them, otherwise each once,
// several at a time. It returns one Result for each ref, in their order.
func ReadAll(ctx context.Context, r Reader, refs []Ref) []Result {
	if b, ok := r.(BatchReader); ok && len(refs) > 1 {
		return b.ReadAll(ctx, refs)
	}
	var distinct []Ref
	at := map[Ref][]int{}
	for i, ref := range refs {
		if at[ref] == nil {
			distinct = append(distinct, ref)
		}
		at[ref] = append(at[ref], i)
	}
	results := make([]Result, len(refs))
	Parallel(len(distinct), func(n int) {
		v, err := r.Read(ctx, distinct[n])
		for copies, i := range at[distinct[n]] {
			if copies > 0 && err == nil {
				v = NewValue(bytes.Clone(v.Bytes())) // each caller owns its bytes
			}
			results[i] = Result{Value: v, Err: err}
		}
	})
	return results
}

// parallel is how many requests of one batch are under way at a time: enough
// to hide the time that a service takes, and few next to any service's limits.
const parallel = 8

// Parallel calls f with each number below n, several at a time, and returns
// when all have returned.
func Parallel(n int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, parallel) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				f(int(i))
			}
		})
	}
	wg.Wait()
}

// A Query says which secrets to find: those that match all of its fields.
// Empty ones match everything.
type Query struct {
	Path string            // the folder or prefix that they are below, as the store spells it
	Name *regexp.Regexp    // matches somewhere in their key
	Tags map[string]string // that they have, each with this value
}

// A Finder is a Reader that can list secrets.
type Finder interface {
	Reader
	// Find returns the keys of the secrets that match, sorted, each as
	// Ref.Path spells it. None is no error. A field of the query that the
	// store has nothing like is an ErrInvalid that names it.
	Find(ctx context.Context, query Query) ([]string, error)
}

// A MetadataReader is a Reader that knows more of a secret than its value.
type MetadataReader interface {
	Reader
	// Metadata returns a JSON object: what metadataPolicy Fetch asks for.
	Metadata(ctx context.Context, ref Ref) (Value, error)
}

// ErrForeign says that a secret was not written by a Writer, and is left as it
// is: what someone else keeps must not be overwritten by a typing error.
var ErrForeign = errors.New("secret of another owner")

// ManagedBy is the mark that a Writer leaves on what it makes, as a tag, label
// or custom metadata. It is that of External Secrets Operator, whose pushed
// secrets are ours too.
const (
	ManagedBy      = "managed-by"
	ManagedByValue = "external-secrets"
)

// Target is where to write: a secret, or one property of the JSON object that
// it holds.
type Target struct{ Path, Property string }

// A Writer is a Reader that can also store secrets. Backends that are
// read-only do not implement it; callers ask with a type assertion.
type Writer interface {
	Reader
	// Write stores v, and makes the secret if there is none. It sends nothing
	// if the store holds the same already. metadata are the settings of the
	// backend, as PushSecret has them; nil or a JSON object. A secret that no
	// Writer made is ErrForeign.
	Write(ctx context.Context, to Target, v Value, metadata json.RawMessage) error
	// Delete removes the secret or the property, and the secret with its last
	// property. It returns nil if there is none.
	Delete(ctx context.Context, to Target) error
}

// DecodeMetadata reads the settings of a backend out of the metadata of a
// write: its spec, if it is a PushSecretMetadata, or else the whole of it.
// A field that T does not have is an ErrInvalid that names it.
func DecodeMetadata[T any](raw json.RawMessage) (T, error) {
	var settings T
	if len(raw) == 0 || string(raw) == "null" {
		return settings, nil
	}
	var wrapped struct {
		Kind string          `json:"kind"`
		Spec json.RawMessage `json:"spec"`
	}
	if err := json.Unmarshal(raw, &wrapped); err != nil {
		return settings, fmt.Errorf("metadata: %w: it is no JSON object", ErrInvalid)
	}
	if wrapped.Kind != "" {
		if wrapped.Kind != "PushSecretMetadata" {
			return settings, fmt.Errorf("metadata.kind: %w: it must be PushSecretMetadata", ErrInvalid)
		}
		if raw = wrapped.Spec; len(raw) == 0 {
			return settings, nil
		}
	}
	if err := strictly(raw, &settings); err != nil {
		return settings, fmt.Errorf("metadata%s: %w: this provider has no such setting, or of another type; it has %s", wrongField(err), ErrInvalid, settingsOf(reflect.TypeFor[T]()))
	}
	return settings, nil
}

// wrongField returns the field that could not be decoded, with a dot in front;
// nothing if the decoder does not say.
func wrongField(err error) string {
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && t.Field != "" {
		return "." + t.Field
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return "." + strings.Trim(name, `"`)
	}
	return ""
}

// settingsOf lists the fields of a struct, as JSON spells them.
func settingsOf(of reflect.Type) string {
	var names []string
	for field := range of.Fields() {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
