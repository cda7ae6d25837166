package reseal_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/memory"
	"golang.org/x/crypto/ssh"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	lockstepv1alpha1 "github.com/lockstep-dev/lockstep/apis/lockstep/v1alpha1"
	"github.com/lockstep-dev/lockstep/reconciler/reseal/rewrite"
	"github.com/lockstep-dev/lockstep/sealer"
)

// opens fails unless the values of a file at the branch are of a key, and open.
func (b *bench) opens(file, key string) {
	b.t.Helper()
	m, err := rewrite.Parse([]byte(b.git("show", "origin/main:"+file) + "\n"))
	if err != nil || len(m.Objects) == 0 {
		b.t.Fatalf("%s: %v", file, err)
	}
	eventually(b.t, "the keys", func() bool { return b.ring.Len() > 0 })
	for _, o := range m.Objects {
		for _, item := range o.Items {
			at := sealer.Place{Binding: sealer.Binding{Namespace: b.ns, Name: o.Name}, Item: item.Name}
			if opened, err := b.ring.OpenItem(item.Value, at, ""); err != nil || string(opened.Value) != b.canary || opened.Fingerprint != key {
				b.t.Errorf("%s: opened with %s, want %s, %v", at, opened.Fingerprint, key, err)
			}
		}
	}
}

// signed has a Reseal make one commit that is signed with the key of a Secret.
func (b *bench) signed(key map[string]string) {
	b.t.Helper()
	b.run()
	b.commit(map[string]string{"a.yaml": b.manifest("a", "password")})
	b.source()
	if err := b.Create(b.t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "signing"}, StringData: key}); err != nil {
		b.t.Fatal(err)
	}
	newest := b.key()
	eventually(b.t, "both keys", func() bool { return b.ring.Len() == 2 })
	b.reseal(func(s *lockstepv1alpha1.ResealSpec) {
		s.Commit.Author = lockstepv1alpha1.Author{Name: "Robot", Email: "robot@example.com"}
		s.Commit.SigningKey = &lockstepv1alpha1.LocalReference{Name: "signing"}
	})
	b.until("the commit", func(r *lockstepv1alpha1.Reseal, _ string) bool { return r.Status.Commit != nil })
	b.git("fetch", "--quiet", "origin", "main")
	b.opens("a.yaml", newest)
}

// Git itself verifies the commit that the server holds, by an SSH key with a
// passphrase.
func TestCommitSignedWithSSH(t *testing.T) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("open sesame"))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	b.signed(map[string]string{"identity": string(pem.EncodeToMemory(block)), "password": "open sesame"})
	allowed := filepath.Join(t.TempDir(), "allowed")
	if err := os.WriteFile(allowed, []byte("robot@example.com "+string(ssh.MarshalAuthorizedKey(signer.PublicKey()))), 0o600); err != nil {
		t.Fatal(err)
	}
	b.git("-c", "gpg.format=ssh", "-c", "gpg.ssh.allowedSignersFile="+allowed, "verify-commit", "origin/main")
}

func TestCommitSignedWithPGP(t *testing.T) {
	e, err := openpgp.NewEntity("Robot", "", "robot@example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	b.signed(map[string]string{"git.asc": armored(t, openpgp.PrivateKeyType, func(w *bytes.Buffer) error { return e.SerializePrivate(w, nil) })})
	o := &plumbing.MemoryObject{}
	o.SetType(plumbing.CommitObject)
	if _, err := o.Write([]byte(b.git("cat-file", "commit", "origin/main") + "\n")); err != nil {
		t.Fatal(err)
	}
	commit, err := object.DecodeCommit(memory.NewStorage(), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := commit.Verify(armored(t, openpgp.PublicKeyType, func(w *bytes.Buffer) error { return e.Serialize(w) })); err != nil {
		t.Errorf("%v\n%s", err, commit.PGPSignature)
	}
}

func armored(t *testing.T, kind string, serialize func(*bytes.Buffer) error) string {
	t.Helper()
	var raw, out bytes.Buffer
	if err := serialize(&raw); err != nil {
		t.Fatal(err)
	}
	w, err := armor.Encode(&out, kind, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(raw.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// On a schedule, what comes into Git is found though nothing tells of it.
func TestSchedule(t *testing.T) {
	b := newBench(t)
	b.run()
	old := b.manifest("late", "password")
	b.commit(map[string]string{"a.yaml": b.manifest("a", "password")})
	b.source()
	newest := b.key()
	eventually(t, "both keys", func() bool { return b.ring.Len() == 2 })
	b.reseal(func(s *lockstepv1alpha1.ResealSpec) { s.Interval = &metav1.Duration{Duration: time.Second} })
	first := b.until("the first commit", func(r *lockstepv1alpha1.Reseal, reason string) bool {
		return reason == "Resealed" && r.Status.Commit != nil
	}).Status.Commit.SHA1
	b.git("pull", "--quiet", "--rebase", "origin", "main")
	theirs := b.commit(map[string]string{"late.yaml": old})
	r := b.until("another", func(r *lockstepv1alpha1.Reseal, _ string) bool { return r.Status.Commit.SHA1 != first })
	if r.Status.Commit.Base != theirs {
		t.Errorf("the commit is on %s, want %s", r.Status.Commit.Base, theirs)
	}
	b.git("fetch", "--quiet", "origin", "main")
	b.opens("late.yaml", newest)
	if strings.Contains(b.git("show", "--stat", "--format=", "origin/main"), "a.yaml") {
		t.Error("what was sealed already is sealed again")
	}
}
