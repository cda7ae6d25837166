package vault

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

// engine is a KV engine, or all of them if it has no mount.
type engine struct {
	mount     string // without slashes at the ends; empty: the key begins with it
	versioned bool   // version 2
}

func newEngine(p *esv1.VaultProvider) engine {
	return engine{mount: strings.Trim(orEmpty(p.Path), "/"), versioned: p.Version != esv1.VaultKVv1}
}

// location is where the API has a secret.
type location struct {
	mount string
	path  string     // below /v1/
	query url.Values // nil for the newest version
}

// locate finds the secret that ref names. The key may begin with the mount,
// and with the data/ that the API puts after it, as in External Secrets.
func (e engine) locate(ref providers.Ref) (location, error) {
	key := strings.Trim(ref.Path, "/")
	if slices.ContainsFunc(strings.Split(key, "/"), func(s string) bool { return s == "" || s == "." || s == ".." }) {
		return location{}, fmt.Errorf("remoteRef.key %q: %w: it has a part that is empty or only dots", ref.Path, providers.ErrInvalid)
	}
	where, err := e.join(key)
	if err != nil {
		return location{}, err
	}
	if ref.Version == "" {
		return where, nil
	}
	if !e.versioned {
		return location{}, fmt.Errorf("remoteRef.version: %w: %q: a KV engine of version 1 keeps no versions; leave it empty", providers.ErrInvalid, ref.Version)
	}
	if n, err := strconv.ParseUint(ref.Version, 10, 32); err != nil || n == 0 {
		return location{}, fmt.Errorf("remoteRef.version: %w: %q: a version of Vault is a number from 1; leave it empty for the newest", providers.ErrInvalid, ref.Version)
	}
	where.query = url.Values{"version": {ref.Version}}
	return where, nil
}

func (e engine) join(key string) (location, error) {
	mount, rest := e.mount, strings.TrimPrefix(key, e.mount+"/")
	named := rest != key // the key repeats the mount
	if mount == "" {
		// Only here can the mount be longer than one part, and the key as a
		// whole be what the API wants.
		if before, _, ok := strings.Cut(key, "/data/"); ok && e.versioned {
			return location{mount: before, path: key}, nil
		}
		if mount, rest, _ = strings.Cut(key, "/"); rest == "" {
			return location{}, fmt.Errorf("remoteRef.key %q: %w: it must begin with the mount of the engine, as in secret/%s, while spec.provider.vault.path is empty",
				key, providers.ErrInvalid, key)
		}
	}
	if !e.versioned {
		return location{mount: mount, path: mount + "/" + rest}, nil
	}
	if named {
		rest = strings.TrimPrefix(rest, "data/")
	}
	return location{mount: mount, path: mount + "/data/" + rest}, nil
}

// about is where the API has what it knows of a key or a folder of the engine.
func (e engine) about(key string) string {
	if !e.versioned {
		return e.mount + "/" + key
	}
	return e.mount + "/metadata/" + key
}
