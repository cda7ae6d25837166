package reseal

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/memory"
	"golang.org/x/crypto/ssh"
)

// base is a commit with three files, one of them executable.
func base(t *testing.T) (*memory.Storage, plumbing.Hash) {
	t.Helper()
	objects := memory.NewStorage()
	w := &writer{objects: objects}
	blob, err := w.blob([]byte("old"))
	if err != nil {
		t.Fatal(err)
	}
	folder, err := w.put(&object.Tree{Entries: []object.TreeEntry{{Name: "a.yaml", Mode: filemode.Executable, Hash: blob}, {Name: "b.yaml", Mode: filemode.Regular, Hash: blob}}})
	if err != nil {
		t.Fatal(err)
	}
	root, err := w.put(&object.Tree{Entries: []object.TreeEntry{{Name: "apps", Mode: filemode.Dir, Hash: folder}, {Name: "c.yaml", Mode: filemode.Regular, Hash: blob}}})
	if err != nil {
		t.Fatal(err)
	}
	who := object.Signature{Name: "a", Email: "a@example.com", When: time.Unix(1, 0)}
	hash, err := w.put(&object.Commit{Author: who, Committer: who, Message: "first", TreeHash: root})
	if err != nil {
		t.Fatal(err)
	}
	return objects, hash
}

func committed(t *testing.T, sign signer) (*memory.Storage, *object.Commit, []plumbing.Hash) {
	t.Helper()
	objects, first := base(t)
	who := object.Signature{Name: "Robot", Email: "robot@example.com", When: time.Unix(2, 0)}
	hash, all, err := change{base: first, files: map[string][]byte{"apps/a.yaml": []byte("new")}, author: who, message: "second", sign: sign}.commit(objects)
	if err != nil {
		t.Fatal(err)
	}
	commit, err := object.GetCommit(objects, hash)
	if err != nil {
		t.Fatal(err)
	}
	return objects, commit, all
}

// A commit changes the files that it is told to, keeps their modes, and shares
// all else.
func TestCommit(t *testing.T) {
	_, commit, all := committed(t, nil)
	if len(all) != 4 { // blob, folder, root, commit
		t.Errorf("%d objects are new, want 4", len(all))
	}
	for name, want := range map[string]string{"apps/a.yaml": "new", "apps/b.yaml": "old", "c.yaml": "old"} {
		f, err := commit.File(name)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := f.Contents(); err != nil || text != want {
			t.Errorf("%s holds %q, %v", name, text, err)
		}
		if name == "apps/a.yaml" && f.Mode != filemode.Executable {
			t.Errorf("its mode became %v", f.Mode)
		}
	}
}

// Git's own ssh-keygen takes the signature.
func TestSSHSignature(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	old, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, private := range map[string]any{"Ed25519": ed, "RSA": old} {
		t.Run(name, func(t *testing.T) {
			block, err := ssh.MarshalPrivateKey(private, "")
			if err != nil {
				t.Fatal(err)
			}
			sign, err := newSigner(map[string][]byte{"identity": pem.EncodeToMemory(block)}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			objects, commit, _ := committed(t, sign)
			key, err := ssh.NewSignerFromKey(private)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			for file, content := range map[string]string{"signature": commit.PGPSignature, "allowed": "robot@example.com " + string(ssh.MarshalAuthorizedKey(key.PublicKey()))} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.CommandContext(t.Context(), "ssh-keygen", "-Y", "verify", "-n", "git", "-I", "robot@example.com", "-f", filepath.Join(dir, "allowed"), "-s", filepath.Join(dir, "signature"))
			cmd.Stdin = strings.NewReader(plain(t, objects, commit))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("ssh-keygen: %v\n%s", err, out)
			}
		})
	}
}

func plain(t *testing.T, objects *memory.Storage, commit *object.Commit) string {
	t.Helper()
	o := objects.NewEncodedObject()
	if err := commit.EncodeWithoutSignature(o); err != nil {
		t.Fatal(err)
	}
	r, err := o.Reader()
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if _, err := text.ReadFrom(r); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

func TestPGPSignature(t *testing.T) {
	e, err := openpgp.NewEntity("Robot", "", "robot@example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	var private, public bytes.Buffer
	for kind, serialize := range map[string]func(*bytes.Buffer) error{
		openpgp.PrivateKeyType: func(b *bytes.Buffer) error { return e.SerializePrivate(b, nil) },
		openpgp.PublicKeyType:  func(b *bytes.Buffer) error { return e.Serialize(b) },
	} {
		var raw bytes.Buffer
		if err := serialize(&raw); err != nil {
			t.Fatal(err)
		}
		out := &private
		if kind == openpgp.PublicKeyType {
			out = &public
		}
		w, err := armor.Encode(out, kind, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(raw.Bytes()); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	sign, err := newSigner(map[string][]byte{"git.asc": private.Bytes()}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	_, commit, _ := committed(t, sign)
	if _, err := commit.Verify(public.String()); err != nil {
		t.Errorf("verify: %v", err)
	}
}

func TestNewSignerErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		secret map[string][]byte
		want   string
	}{
		"Empty": {nil, "neither git.asc nor identity"},
		"PGP":   {map[string][]byte{"git.asc": []byte("s3cret")}, "no OpenPGP private key"},
		"SSH":   {map[string][]byte{"identity": []byte("s3cret")}, "no SSH private key"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newSigner(tc.secret, time.Now())
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}
