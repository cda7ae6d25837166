package reseal

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/memory"
	"golang.org/x/crypto/ssh"
)

// change is a commit to make.
type change struct {
	base    plumbing.Hash
	files   map[string][]byte // the new contents by path
	author  object.Signature
	message string
	sign    signer // nil does not
}

// signer returns the signature of a commit, in armour.
type signer func(commit []byte) (string, error)

// commit adds a commit to objects that changes the contents of files and
// nothing else, and returns it and all that the server lacks.
func (c change) commit(objects *memory.Storage) (plumbing.Hash, []plumbing.Hash, error) {
	base, err := object.GetCommit(objects, c.base)
	if err != nil {
		return plumbing.ZeroHash, nil, fmt.Errorf("read commit: %w", err)
	}
	w := &writer{objects: objects}
	tree, err := w.tree(base.TreeHash, "", c.files)
	if err != nil {
		return plumbing.ZeroHash, nil, err
	}
	made := &object.Commit{Author: c.author, Committer: c.author, Message: c.message, TreeHash: tree, ParentHashes: []plumbing.Hash{c.base}}
	if c.sign != nil {
		if made.PGPSignature, err = c.signature(made, objects); err != nil {
			return plumbing.ZeroHash, nil, fmt.Errorf("sign the commit: %w", err)
		}
	}
	hash, err := w.put(made)
	return hash, w.made, err
}

func (c change) signature(made *object.Commit, objects *memory.Storage) (string, error) {
	plain := objects.NewEncodedObject()
	if err := made.EncodeWithoutSignature(plain); err != nil {
		return "", err
	}
	r, err := plain.Reader()
	if err != nil {
		return "", err
	}
	defer r.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(r); err != nil {
		return "", err
	}
	return c.sign(text.Bytes())
}

// writer adds objects, and keeps a list of them.
type writer struct {
	objects *memory.Storage
	made    []plumbing.Hash
}

type encoder interface {
	Encode(o plumbing.EncodedObject) error
}

func (w *writer) put(e encoder) (plumbing.Hash, error) {
	o := w.objects.NewEncodedObject()
	if err := e.Encode(o); err != nil {
		return plumbing.ZeroHash, err
	}
	return w.set(o)
}

func (w *writer) set(o plumbing.EncodedObject) (plumbing.Hash, error) {
	hash, err := w.objects.SetEncodedObject(o)
	w.made = append(w.made, hash)
	return hash, err
}

func (w *writer) blob(content []byte) (plumbing.Hash, error) {
	o := w.objects.NewEncodedObject()
	o.SetType(plumbing.BlobObject)
	out, err := o.Writer()
	if err != nil {
		return plumbing.ZeroHash, err
	}
	if _, err := out.Write(content); err != nil {
		return plumbing.ZeroHash, err
	}
	return w.set(o)
}

// tree writes the tree that hash is, with the contents of files, whose paths
// begin with at. Modes stay, and so does what is not among the files.
func (w *writer) tree(hash plumbing.Hash, at string, files map[string][]byte) (plumbing.Hash, error) {
	tree, err := object.GetTree(w.objects, hash)
	if err != nil {
		return plumbing.ZeroHash, fmt.Errorf("read tree: %w", err)
	}
	entries := slices.Clone(tree.Entries)
	for i, e := range entries {
		name := at + e.Name
		if e.Mode == filemode.Dir && touches(files, name+"/") {
			if entries[i].Hash, err = w.tree(e.Hash, name+"/", files); err != nil {
				return plumbing.ZeroHash, err
			}
		}
		if content, ok := files[name]; ok && e.Mode != filemode.Dir {
			if entries[i].Hash, err = w.blob(content); err != nil {
				return plumbing.ZeroHash, err
			}
		}
	}
	return w.put(&object.Tree{Entries: entries})
}

func touches(files map[string][]byte, folder string) bool {
	for name := range files {
		if strings.HasPrefix(name, folder) {
			return true
		}
	}
	return false
}

// newSigner returns the signer of a Secret's values: an OpenPGP key or one of
// SSH. Its errors hold nothing of them.
func newSigner(secret map[string][]byte, now time.Time) (signer, error) {
	switch {
	case len(secret[keyPGP]) > 0:
		return newPGP(secret[keyPGP], secret[keyPassword], now)
	case len(secret[keySSH]) > 0:
		return newSSHSigner(secret[keySSH], secret[keyPassword])
	default:
		return nil, fmt.Errorf("spec.commit.signingKey: the Secret has neither %s nor %s", keyPGP, keySSH)
	}
}

// Items of the Secret with a signing key.
const (
	keyPGP      = "git.asc"
	keySSH      = "identity"
	keyPassword = "password"
)

func newPGP(key, passphrase []byte, now time.Time) (signer, error) {
	ring, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(key))
	if err != nil || len(ring) == 0 || ring[0].PrivateKey == nil {
		return nil, fmt.Errorf("spec.commit.signingKey: %s is no OpenPGP private key in armour", keyPGP)
	}
	if ring[0].PrivateKey.Encrypted {
		if err := ring[0].DecryptPrivateKeys(passphrase); err != nil {
			return nil, fmt.Errorf("spec.commit.signingKey: %s is not the passphrase of %s", keyPassword, keyPGP)
		}
	}
	if _, ok := ring[0].SigningKey(now); !ok {
		return nil, fmt.Errorf("spec.commit.signingKey: %s has no key that may sign now: has it expired?", keyPGP)
	}
	return func(commit []byte) (string, error) {
		var out bytes.Buffer
		err := openpgp.ArmoredDetachSign(&out, ring[0], bytes.NewReader(commit), nil)
		return out.String(), err
	}, nil
}

func newSSHSigner(key, passphrase []byte) (signer, error) {
	var private ssh.Signer
	var err error
	if len(passphrase) > 0 {
		private, err = ssh.ParsePrivateKeyWithPassphrase(key, passphrase)
	} else {
		private, err = ssh.ParsePrivateKey(key)
	}
	if err != nil { // whose text may repeat what is in the key
		return nil, fmt.Errorf("spec.commit.signingKey: %s is no SSH private key, or %s is not its passphrase", keySSH, keyPassword)
	}
	return func(commit []byte) (string, error) { return sshSignature(private, commit) }, nil
}

// message is the text of a commit: what, how much, and with which key.
func message(subject string, steps []*Step, key string) string {
	objects, files := map[string]bool{}, map[string]int{}
	items := 0
	for _, s := range steps {
		if s.Next == "" {
			continue
		}
		items++
		files[s.File.Path]++
		objects[fmt.Sprint(s.File.Path, s.At.Binding)] = true
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", cmp.Or(subject, "Seal again with the newest key"))
	fmt.Fprintf(&b, "%d values of %d SealedSecrets in %d files, for the key\n%s.\n\nNothing but sealed values changed.\n\n", items, len(objects), len(files), key)
	names := sortedKeys(files)
	const shown = 50
	for _, name := range names[:min(len(names), shown)] {
		fmt.Fprintf(&b, "- %s: %d\n", name, files[name])
	}
	if more := len(names) - shown; more > 0 {
		fmt.Fprintf(&b, "- and %d more files\n", more)
	}
	return b.String()
}
