package seal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/lockstep-dev/lockstep/cmd/internal/manifest"
	"github.com/lockstep-dev/lockstep/sealer"
)

// pinsName is the file that remembers the key of each cluster. It holds nothing
// secret and is made to be committed, so that all who work in a repository
// trust the same keys.
const pinsName = ".lockstep-pins.json"

// pinned is the key of one cluster, and the servers that speak for it.
type pinned struct {
	sealer.Pin
	Servers []string `json:"servers,omitempty"` // of kubeconfigs
}

// pinFile is what the file holds.
type pinFile struct {
	Clusters []*pinned `json:"clusters"`

	path string
}

// findPins returns the path of the file: in the working directory or one
// above it up to the repository's, where it is made if there is none; outside
// of repositories, in the user's configuration.
func findPins(dir string) (string, error) {
	for at := dir; ; at = filepath.Dir(at) {
		path := filepath.Join(at, pinsName)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		if _, err := os.Stat(filepath.Join(at, ".git")); err == nil {
			return path, nil
		}
		if at == filepath.Dir(at) {
			break
		}
	}
	config, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find a place for %s: %w: name one with --pins", pinsName, err)
	}
	return filepath.Join(config, "lockstep", "pins.json"), nil
}

func (t *trust) openPins() (*pinFile, error) {
	p := &pinFile{path: t.pins}
	if p.path == "" {
		dir, err := os.Getwd()
		if err != nil {
			return nil, err
		}
		if p.path, err = findPins(dir); err != nil {
			return nil, err
		}
	}
	text, err := os.ReadFile(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, p); err != nil {
		return nil, fmt.Errorf("%s: %w: take it from Git again", p.path, err)
	}
	return p, nil
}

// find returns what is known of a cluster: by the server, which is how it is
// known before it says who it is, or else by its own word.
func (p *pinFile) find(server, id string) *pinned {
	if i := slices.IndexFunc(p.Clusters, func(c *pinned) bool { return server != "" && slices.Contains(c.Servers, server) }); i >= 0 {
		return p.Clusters[i]
	}
	if i := slices.IndexFunc(p.Clusters, func(c *pinned) bool { return c.Cluster == id }); i >= 0 {
		return p.Clusters[i]
	}
	return nil
}

func (p *pinFile) save() error {
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(p.path), 0o755); err != nil { //nolint:gosec // G301: nothing in it is secret
		return err
	}
	return manifest.ReplaceFile(p.path, append(text, '\n'), 0o644)
}

// believe returns an error if the keys of a bundle are not to be trusted, and
// remembers them if they are: on first use, when the key that was trusted signed
// them, or when the user says so.
func (t *trust) believe(b *sealer.Bundle, server string) error {
	pins, err := t.openPins()
	if err != nil {
		return err
	}
	now := b.Pin()
	known := pins.find(server, now.Cluster)
	accepted := t.accept != "" && t.accept == now.Key
	switch {
	case t.accept != "" && !accepted:
		return fmt.Errorf("--accept-key %s: the controller publishes key %s", t.accept, now.Key)
	case known == nil:
		fmt.Fprintf(t.errs, "lockstep: first use of cluster %s: its key %s is trusted from now on (%s: commit it)\n", now.Cluster, now.Key, pins.path)
		known = &pinned{}
		pins.Clusters = append(pins.Clusters, known)
	case known.Trusts(b) == nil:
	case accepted:
		fmt.Fprintf(t.errs, "lockstep: key %s of cluster %s is trusted from now on, in the place of key %s of cluster %s\n", now.Key, now.Cluster, known.Key, known.Cluster)
	default:
		return fmt.Errorf("%w (%s)\nIf the cluster was made anew, or the old key was deleted, compare the id with that of\n  lockstep keys list\nand say: --accept-key %s", known.Trusts(b), pins.path, now.Key)
	}
	changed := known.Key != now.Key || known.Cluster != now.Cluster
	known.Pin = now
	if server != "" && !slices.Contains(known.Servers, server) {
		known.Servers = append(known.Servers, server)
		changed = true
	}
	if !changed {
		return nil
	}
	return pins.save()
}
