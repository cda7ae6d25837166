package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"strings"

	"github.com/lockstep-dev/lockstep/providers"
)

// secretSettings are the metadata of a PushSecret for Vault.
type secretSettings struct {
	Metadata map[string]string `json:"customMetadata"`
	// MergePolicy is Merge or Replace; empty: Merge, as in External Secrets.
	MergePolicy string `json:"mergePolicy"`
}

// errChanged says that someone else has written a secret between a read and a
// write. The next try starts with what is there then.
var errChanged = fmt.Errorf("%w: someone else has written it at the same time", providers.ErrUnavailable)

// known is a secret as it was before a write.
type known struct {
	value   providers.Value // empty if there is none, or it is deleted
	version int             // of an engine of version 2
	custom  map[string]string
	fresh   bool // there is no trace of it
}

// Write implements providers.Writer. A value without a property must be a JSON
// object. In an engine of version 2, the write names the version that it
// replaces, and is refused if there is another by then.
func (r *reader) Write(ctx context.Context, to providers.Target, v providers.Value, settings json.RawMessage) error {
	return r.told(r.set(ctx, to, v, settings))
}

func (r *reader) set(ctx context.Context, to providers.Target, v providers.Value, settings json.RawMessage) error {
	wanted, err := providers.DecodeMetadata[secretSettings](settings)
	if err != nil {
		return err
	}
	if m := wanted.MergePolicy; m != "" && m != "Merge" && m != "Replace" {
		return fmt.Errorf("metadata.mergePolicy: %w: %q is neither Merge nor Replace", providers.ErrInvalid, m)
	}
	if len(wanted.Metadata) > 0 && !r.engine.versioned {
		providers.Warn(ctx, "metadata.customMetadata: it is not written: a KV engine of version 1 has no metadata; remove it")
	}
	old, err := r.ours(ctx, to)
	if err != nil {
		return fmt.Errorf("write secret %q: %w", to.Path, err)
	}
	if to.Property != "" {
		if v, err = providers.SetProperty(old.value, flat(to.Property), v); err != nil {
			return fmt.Errorf("write secret %q: %w", to.Path, err)
		}
	}
	if err := r.write(ctx, to.Path, v, old, wanted); err != nil {
		return fmt.Errorf("write secret %q: %w", to.Path, err)
	}
	return nil
}

// flat keeps the dots of a property: a secret of Vault's is a list of keys.
func flat(property string) string { return strings.ReplaceAll(property, ".", `\.`) }

// ours reads a secret before it is written, and returns ErrForeign unless a
// Writer made it.
func (r *reader) ours(ctx context.Context, to providers.Target) (known, error) {
	var old known
	if r.engine.versioned {
		about, err := r.metadata(ctx, to.Path)
		switch {
		case errors.Is(err, providers.ErrNotFound):
			return known{fresh: true}, nil
		case err != nil:
			return known{}, err
		case about.Custom[providers.ManagedBy] != providers.ManagedByValue:
			return known{}, fmt.Errorf("%w: its custom metadata has no %s=%s: add it to hand it over", providers.ErrForeign, providers.ManagedBy, providers.ManagedByValue)
		}
		old.version, old.custom = about.Current, about.Custom
	}
	v, err := r.whole(ctx, providers.Ref{Path: to.Path})
	if errors.Is(err, providers.ErrNotFound) {
		return old, nil
	}
	if err != nil {
		return known{}, err
	}
	if old.value = v; !r.engine.versioned {
		rest, mine := unmarked(v)
		if old.value = rest; !mine {
			return known{}, fmt.Errorf("%w: it has no %s with %s=%s: add it to hand it over", providers.ErrForeign, markKey, providers.ManagedBy, providers.ManagedByValue)
		}
	}
	return old, nil
}

// write sends what is other than before.
func (r *reader) write(ctx context.Context, key string, v providers.Value, old known, settings secretSettings) error {
	where, err := r.engine.locate(providers.Ref{Path: key})
	if err != nil {
		return err
	}
	data, err := object(v)
	if err != nil {
		return err
	}
	if r.engine.versioned {
		if err := r.describe(ctx, where, old, settings); err != nil {
			return err
		}
	}
	if before, err := object(old.value); err == nil && len(old.value.Bytes()) > 0 && reflect.DeepEqual(before, data) {
		return nil
	}
	body := map[string]any{"options": map[string]int{"cas": old.version}, "data": data}
	if !r.engine.versioned {
		body = maps.Clone(data)
		body[markKey] = map[string]string{providers.ManagedBy: providers.ManagedByValue}
	}
	a, err := r.send(ctx, request{method: http.MethodPost, path: where.path, body: body})
	if err != nil {
		return err
	}
	return r.written(a, where)
}

// describe writes the custom metadata of a secret, with the mark of a Writer.
func (r *reader) describe(ctx context.Context, where location, old known, settings secretSettings) error {
	all := map[string]string{}
	if settings.MergePolicy != "Replace" {
		maps.Copy(all, old.custom)
	}
	maps.Copy(all, settings.Metadata)
	all[providers.ManagedBy] = providers.ManagedByValue
	if maps.Equal(all, old.custom) {
		return nil
	}
	where.path = strings.Replace(where.path, where.mount+"/data/", where.mount+"/metadata/", 1)
	a, err := r.send(ctx, request{method: http.MethodPost, path: where.path, body: map[string]any{"custom_metadata": all}})
	if err != nil {
		return err
	}
	return r.written(a, where)
}

// written returns why a write did not work; nil if it did.
func (r *reader) written(a answer, where location) error {
	switch {
	case a.status == http.StatusOK || a.status == http.StatusNoContent:
		return nil
	case a.status == http.StatusForbidden:
		return fmt.Errorf("%w: Vault at %s does not allow to write %s: add create, update and delete to the policy of the role or token",
			providers.ErrDenied, r.client.address, where.path)
	case a.status == http.StatusBadRequest && a.says("check-and-set"):
		return errChanged
	}
	return r.refused(a, where)
}

// object reads a JSON object without rounding its numbers.
func object(v providers.Value) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(v.Bytes()))
	d.UseNumber()
	var data map[string]any
	if err := d.Decode(&data); err != nil || data == nil || d.More() {
		// The error of the decoder may hold a part of the value.
		return nil, fmt.Errorf("%w: the value is no JSON object, which is all that Vault holds: set a property", providers.ErrInvalid)
	}
	return data, nil
}

// Delete implements providers.Writer. All versions of a secret go with it.
func (r *reader) Delete(ctx context.Context, to providers.Target) error {
	return r.told(r.remove(ctx, to))
}

func (r *reader) remove(ctx context.Context, to providers.Target) error {
	old, err := r.ours(ctx, to)
	if err != nil {
		return fmt.Errorf("delete secret %q: %w", to.Path, err)
	}
	where, err := r.engine.locate(providers.Ref{Path: to.Path})
	if err != nil || old.fresh || (!r.engine.versioned && len(old.value.Bytes()) == 0) {
		return err
	}
	if to.Property != "" && len(old.value.Bytes()) > 0 {
		rest, empty, err := providers.RemoveProperty(old.value, flat(to.Property))
		if err != nil {
			return fmt.Errorf("delete secret %q: %w", to.Path, err)
		}
		if !empty {
			return r.write(ctx, to.Path, rest, old, secretSettings{})
		}
	}
	where.path = strings.Replace(where.path, where.mount+"/data/", where.mount+"/metadata/", 1)
	if !r.engine.versioned {
		where.path = r.engine.about(strings.TrimPrefix(where.path, where.mount+"/"))
	}
	a, err := r.send(ctx, request{method: http.MethodDelete, path: where.path})
	if err == nil && a.status != http.StatusNotFound {
		err = r.written(a, where)
	}
	if err != nil {
		return fmt.Errorf("delete secret %q: %w", to.Path, err)
	}
	return nil
}
