package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/lockstep-dev/lockstep/providers"
)

// maxFolders is how many folders one search lists: each takes a request.
const maxFolders = 1000

// Find implements providers.Finder. It takes a request for each folder and, to
// look at tags, one for each secret. Tags are the custom metadata of a secret,
// which an engine of version 1 does not have. Folders that must not be listed
// are passed over, except the first.
func (r *reader) Find(ctx context.Context, q providers.Query) ([]string, error) {
	found, err := r.find(ctx, q)
	return found, r.told(err)
}

func (r *reader) find(ctx context.Context, q providers.Query) ([]string, error) {
	if len(q.Tags) > 0 && !r.engine.versioned {
		return nil, fmt.Errorf("find.tags: %w: a KV engine of version 1 has no metadata; use find.name", providers.ErrInvalid)
	}
	if r.engine.mount == "" {
		return nil, fmt.Errorf("find: %w: set spec.provider.vault.path to the engine that is to be searched", providers.ErrInvalid)
	}
	found, err := r.walk(ctx, strings.Trim(q.Path, "/"))
	if err != nil {
		return nil, err
	}
	if q.Name != nil {
		found = slices.DeleteFunc(found, func(path string) bool { return !q.Name.MatchString(path) })
	}
	slices.Sort(found)
	return r.tagged(ctx, slices.Compact(found), q.Tags)
}

// walk returns all keys below a folder.
func (r *reader) walk(ctx context.Context, root string) ([]string, error) {
	var found []string
	folders := []string{root}
	for listed := 0; listed < len(folders); listed++ {
		if listed == maxFolders {
			return nil, fmt.Errorf("find: %w: there are more than %d folders below %q: set find.path to one of them", providers.ErrInvalid, maxFolders, root)
		}
		folder := folders[listed]
		keys, err := r.list(ctx, folder)
		if err != nil && (listed == 0 || !errors.Is(err, providers.ErrDenied)) {
			return nil, fmt.Errorf("find secrets below %q: %w", folder, err)
		}
		for _, key := range keys {
			path := strings.TrimPrefix(folder+"/"+key, "/")
			if below, ok := strings.CutSuffix(path, "/"); ok {
				folders = append(folders, below)
			} else {
				found = append(found, path)
			}
		}
	}
	return found, nil
}

// list returns the keys in a folder; folders end with a slash.
func (r *reader) list(ctx context.Context, folder string) ([]string, error) {
	a, err := r.send(ctx, request{method: http.MethodGet, path: strings.TrimSuffix(r.engine.about(folder), "/"), query: url.Values{"list": {"true"}}})
	if err != nil {
		return nil, err
	}
	if a.status == http.StatusNotFound && len(a.Errors) == 0 {
		return nil, nil // an empty folder is none
	}
	where := location{mount: r.engine.mount, path: r.engine.about(folder)}
	if err := r.refused(a, where); err != nil {
		return nil, err
	}
	var data struct {
		Keys []string `json:"keys"`
	}
	if err := json.Unmarshal(a.Data, &data); err != nil || data.Keys == nil {
		return nil, fmt.Errorf("%w: what Vault at %s lists is no list", providers.ErrUnavailable, r.client.address)
	}
	return data.Keys, nil
}

// tagged returns those paths whose secrets have the tags.
func (r *reader) tagged(ctx context.Context, paths []string, tags map[string]string) ([]string, error) {
	if len(tags) == 0 {
		return paths, nil
	}
	has, failed := make([]bool, len(paths)), make([]error, len(paths))
	providers.Parallel(len(paths), func(i int) {
		about, err := r.metadata(ctx, paths[i])
		failed[i] = err
		has[i] = err == nil && func() bool {
			for key, value := range tags {
				if got, ok := about.Custom[key]; !ok || got != value {
					return false
				}
			}
			return true
		}()
	})
	var found []string
	for i, path := range paths {
		if failed[i] != nil {
			return nil, fmt.Errorf("find by tags: secret %q: %w", path, failed[i])
		}
		if has[i] {
			found = append(found, path)
		}
	}
	return found, nil
}

// metadata is what an engine of version 2 knows of a secret.
type metadata struct {
	Custom      map[string]string `json:"custom_metadata"`
	Created     string            `json:"created_time"`
	Current     int               `json:"current_version"`
	DeleteAfter string            `json:"delete_version_after"`
}

func (r *reader) metadata(ctx context.Context, key string) (metadata, error) {
	where, err := r.engine.locate(providers.Ref{Path: key})
	if err != nil {
		return metadata{}, err
	}
	where.path = strings.Replace(where.path, where.mount+"/data/", where.mount+"/metadata/", 1)
	a, err := r.send(ctx, request{method: http.MethodGet, path: where.path})
	if err != nil {
		return metadata{}, err
	}
	if err := r.refused(a, where); err != nil {
		return metadata{}, err
	}
	var m metadata
	if err := json.Unmarshal(a.Data, &m); err != nil {
		return metadata{}, fmt.Errorf("%w: what Vault at %s says of the secret is no metadata", providers.ErrUnavailable, r.client.address)
	}
	return m, nil
}

// Metadata implements providers.MetadataReader: the custom metadata, with
// created_time, current_version and delete_version_after.
func (r *reader) Metadata(ctx context.Context, ref providers.Ref) (providers.Value, error) {
	if !r.engine.versioned {
		return providers.Value{}, fmt.Errorf("remoteRef.metadataPolicy: %w: a KV engine of version 1 has no metadata to fetch; remove it", providers.ErrInvalid)
	}
	m, err := r.metadata(ctx, ref.Path)
	if err != nil {
		return providers.Value{}, r.told(fmt.Errorf("read the metadata of secret %q: %w", ref.Path, err))
	}
	all := map[string]string{"created_time": m.Created, "current_version": strconv.Itoa(m.Current), "delete_version_after": m.DeleteAfter}
	maps.Copy(all, m.Custom)
	text, err := json.Marshal(all)
	if err != nil {
		return providers.Value{}, fmt.Errorf("read the metadata of secret %q: %w: it has no form as JSON", ref.Path, providers.ErrInvalid)
	}
	return providers.NewValue(text), nil
}
