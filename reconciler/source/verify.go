package source

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// Suffixes of the keys of the Secret that spec.verify.secretRef names; they are
// Flux's.
const (
	suffixPGP = ".asc"    // an armored PGP key ring
	suffixSSH = ".sshpub" // SSH public keys, one a line, as in authorized_keys
)

// sshNamespace is what Git signs for with an SSH key.
// Source: https://git-scm.com/docs/gitformat-signature
const sshNamespace = "git"

// trusted are the keys that a commit or tag may be signed with.
type trusted struct {
	rings []string
	keys  []ssh.PublicKey
}

// parseTrusted reads the values of a Secret.
func parseTrusted(secret credentials) (trusted, error) {
	var t trusted
	for _, name := range slices.Sorted(maps.Keys(secret)) {
		switch value := secret[name]; {
		case strings.HasSuffix(name, suffixSSH):
			keys, err := parseAuthorized(value)
			if err != nil {
				return t, fmt.Errorf("spec.verify.secretRef: %s: %w", name, err)
			}
			t.keys = append(t.keys, keys...)
		case strings.HasSuffix(name, suffixPGP), bytes.Contains(value, []byte("BEGIN PGP PUBLIC KEY BLOCK")):
			t.rings = append(t.rings, string(value))
		}
	}
	if len(t.rings)+len(t.keys) == 0 {
		return t, fmt.Errorf("spec.verify.secretRef: the Secret holds no key: name PGP key rings *%s and SSH public keys *%s", suffixPGP, suffixSSH)
	}
	return t, nil
}

func parseAuthorized(text []byte) ([]ssh.PublicKey, error) {
	var keys []ssh.PublicKey
	for len(bytes.TrimSpace(text)) > 0 {
		key, _, _, rest, err := ssh.ParseAuthorizedKey(text)
		if err != nil {
			return nil, errors.New("not a list of SSH public keys")
		}
		keys, text = append(keys, key), rest
	}
	return keys, nil
}

// signed is a commit or a tag: go-git's have this in common.
type signed interface {
	EncodeWithoutSignature(o plumbing.EncodedObject) error
}

// check returns who signed o, or why that is nobody who is trusted.
func (t trusted) check(o signed, signature string, verifyPGP func(ring string) (string, error)) (by string, err error) {
	switch {
	case signature == "":
		return "", errors.New("it is not signed")
	case strings.Contains(signature, "BEGIN SSH SIGNATURE"):
		return t.checkSSH(o, signature)
	}
	for _, ring := range t.rings {
		if by, err := verifyPGP(ring); err == nil {
			return by, nil
		}
	}
	return "", fmt.Errorf("its PGP signature is of none of the %d key rings", len(t.rings))
}

func (t trusted) checkSSH(o signed, signature string) (string, error) {
	sig, err := sshsig.Unarmor([]byte(signature))
	if err != nil {
		return "", errors.New("its SSH signature cannot be read")
	}
	payload := &plumbing.MemoryObject{}
	if err := o.EncodeWithoutSignature(payload); err != nil {
		return "", err
	}
	for _, key := range t.keys {
		r, err := payload.Reader()
		if err != nil {
			return "", err
		}
		if sshsig.Verify(r, sig, key, sig.HashAlgorithm, sshNamespace) == nil {
			return "SSH key " + ssh.FingerprintSHA256(key), nil
		}
	}
	return "", fmt.Errorf("its SSH signature is of none of the %d keys", len(t.keys))
}

func (t trusted) commit(c *object.Commit) (string, error) {
	return t.check(c, c.PGPSignature, func(ring string) (string, error) {
		e, err := c.Verify(ring)
		if err != nil {
			return "", err
		}
		return "PGP key " + e.PrimaryKey.KeyIdString(), nil
	})
}

func (t trusted) tag(tag *object.Tag) (string, error) {
	return t.check(tag, tag.PGPSignature, func(ring string) (string, error) {
		e, err := tag.Verify(ring)
		if err != nil {
			return "", err
		}
		return "PGP key " + e.PrimaryKey.KeyIdString(), nil
	})
}

// untrusted says that a commit or tag is not signed as spec.verify wants it.
type untrusted struct {
	reason string
	err    error
}

func (e *untrusted) Error() string { return e.err.Error() }

// Reasons of an untrusted commit or tag; they are Flux's.
const (
	reasonCommitSignature = "InvalidCommitSignature"
	reasonTagSignature    = "InvalidTagSignature"
)

// verify checks the signatures that mode asks for, and says what it found.
func (c *checkout) verify(mode sourcev1.GitVerificationMode, secret credentials) (string, error) {
	t, err := parseTrusted(secret)
	if err != nil {
		return "", &invalid{sourcev1.VerificationError, err}
	}
	var found []string
	if mode != sourcev1.ModeGitHEAD && mode != "" {
		if c.tag == nil {
			return "", &invalid{sourcev1.VerificationError, fmt.Errorf("spec.verify.mode: %s needs an annotated tag in spec.ref.tag or spec.ref.semver", mode)}
		}
		by, err := t.tag(c.tag)
		if err != nil {
			return "", &untrusted{reasonTagSignature, fmt.Errorf("tag %s: %w", c.tag.Name, err)}
		}
		found = append(found, fmt.Sprintf("verified signature of tag %s by %s", c.tag.Name, by))
	}
	if mode != sourcev1.ModeGitTag {
		by, err := t.commit(c.signed)
		if err != nil {
			return "", &untrusted{reasonCommitSignature, fmt.Errorf("commit %s: %w", c.commit, err)}
		}
		found = append(found, fmt.Sprintf("verified signature of commit %s by %s", c.commit, by))
	}
	return strings.Join(found, "; "), nil
}
