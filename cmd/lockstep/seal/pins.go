package seal

import (
	"cmp"
	"crypto/ed25519"
	"crypto/x509"
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
	Certificate string   `json:"certificate,omitempty"` // fingerprint of its key, for a controller that publishes nothing else
	Servers     []string `json:"servers,omitempty"`     // of kubeconfigs
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
	err = json.Unmarshal(text, p)
	if slices.ContainsFunc(p.Clusters, func(c *pinned) bool { return c == nil || !c.whole() }) {
		err = errors.New("it names a cluster without its key")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: take it from Git again", p.path, err)
	}
	return p, nil
}

// whole says whether there is something to trust.
func (p *pinned) whole() bool {
	_, err := sealer.ParseClusterID(p.Cluster)
	return p.Certificate != "" && p.Cluster == "" || p.Certificate == "" && err == nil && len(p.Signer) == ed25519.PublicKeySize
}

// find returns what is known of a cluster: by the server, which is how it is
// known before it says who it is, or else by its own word.
func (p *pinFile) find(server, id string) *pinned {
	if i := slices.IndexFunc(p.Clusters, func(c *pinned) bool { return server != "" && slices.Contains(c.Servers, server) }); i >= 0 {
		return p.Clusters[i]
	}
	if i := slices.IndexFunc(p.Clusters, func(c *pinned) bool { return id != "" && c.Cluster == id }); i >= 0 {
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
	now := b.Pin()
	return t.remember(server, now.Cluster, now.Key, func(known *pinned) error {
		if known.Certificate != "" {
			return fmt.Errorf("%w: the certificate with the key %s was trusted, and it says nothing of key %s", sealer.ErrUntrusted, known.Certificate, now.Key)
		}
		return known.Trusts(b)
	}, pinned{Pin: now})
}

// believeCertificate is believe for a controller that publishes a certificate
// only, as that of Sealed Secrets: no key signs the next one.
func (t *trust) believeCertificate(cert *x509.Certificate, server string) error {
	fingerprint, err := sealer.Fingerprint(cert.PublicKey)
	if err != nil {
		return err
	}
	return t.remember(server, "", fingerprint, func(known *pinned) error {
		switch {
		case known.Cluster != "":
			return fmt.Errorf("%w: cluster %s published signed keys, and now a certificate only, with the key %s", sealer.ErrUntrusted, known.Cluster, fingerprint)
		case known.Certificate != fingerprint:
			return fmt.Errorf("%w: the certificate with the key %s was trusted, and now there is one with the key %s", sealer.ErrUntrusted, known.Certificate, fingerprint)
		}
		return nil
	}, pinned{Certificate: fingerprint})
}

// remember puts now in the place of what is known of a server or a cluster, if
// check or the user allows it.
func (t *trust) remember(server, cluster, key string, check func(*pinned) error, now pinned) error {
	pins, err := t.openPins()
	if err != nil {
		return err
	}
	if t.accept != "" && t.accept != key {
		return fmt.Errorf("--accept-key %s: the controller publishes key %s", t.accept, key)
	}
	of := "of " + server
	if cluster != "" {
		of = "of cluster " + cluster
	}
	known := pins.find(server, cluster)
	if known == nil {
		fmt.Fprintf(t.errs, "lockstep: first use: the key %s %s is trusted from now on (%s: commit it)\n", key, of, pins.path)
		known = &pinned{}
		pins.Clusters = append(pins.Clusters, known)
	} else if err := check(known); err != nil {
		if t.accept == "" {
			return fmt.Errorf("%w (%s)\nIf the cluster was made anew, or the old key was deleted, compare the key with that of\n  lockstep keys list\nand say: --accept-key %s", err, pins.path, key)
		}
		fmt.Fprintf(t.errs, "lockstep: the key %s %s is trusted from now on, in the place of key %s\n", key, of, cmp.Or(known.Key, known.Certificate))
	}
	changed := known.Key != now.Key || known.Cluster != now.Cluster || known.Certificate != now.Certificate
	known.Pin, known.Certificate = now.Pin, now.Certificate
	if server != "" && !slices.Contains(known.Servers, server) {
		known.Servers = append(known.Servers, server)
		changed = true
	}
	if !changed {
		return nil
	}
	return pins.save()
}
