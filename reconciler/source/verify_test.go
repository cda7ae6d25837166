package source_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/lockstep-dev/lockstep/test/testenv"
)

// signer signs what Git would: a commit or a tag without its signature.
type signer func(t *testing.T, payload []byte) (signature string)

func newSSH(t *testing.T) (sign signer, public string) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return func(t *testing.T, payload []byte) string {
		t.Helper()
		sig, err := sshsig.Sign(bytes.NewReader(payload), key, sshsig.HashSHA512, "git")
		if err != nil {
			t.Fatal(err)
		}
		return string(sshsig.Armor(sig))
	}, string(ssh.MarshalAuthorizedKey(key.PublicKey()))
}

func newPGP(t *testing.T) (sign signer, public string) {
	t.Helper()
	entity, err := openpgp.NewEntity("Test", "", "test@example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	var ring bytes.Buffer
	w, err := armor.Encode(&ring, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := entity.Serialize(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return func(t *testing.T, payload []byte) string {
		t.Helper()
		var out bytes.Buffer
		if err := openpgp.ArmoredDetachSign(&out, entity, bytes.NewReader(payload), nil); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}, ring.String()
}

// git runs git in the clone of r.
func git(t *testing.T, r *testenv.Repository, args ...string) string {
	t.Helper()
	out, err := r.Git(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// write stores an object, and returns its name.
func write(t *testing.T, r *testenv.Repository, kind string, content []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "object")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return git(t, r, "hash-object", "-w", "-t", kind, file)
}

// signHead replaces the newest commit with one that is signed, and pushes it.
func signHead(t *testing.T, r *testenv.Repository, sign signer) string {
	t.Helper()
	payload := []byte(git(t, r, "cat-file", "commit", "HEAD") + "\n")
	header, message, _ := strings.Cut(string(payload), "\n\n")
	signature := strings.ReplaceAll(strings.TrimRight(sign(t, payload), "\n"), "\n", "\n ")
	hash := write(t, r, "commit", []byte(header+"\ngpgsig "+signature+"\n\n"+message))
	git(t, r, "reset", "--quiet", "--hard", hash)
	git(t, r, "push", "--quiet", "--force", "origin", "HEAD")
	return hash
}

// signTag makes a tag of the newest commit that is signed, and pushes it.
func signTag(t *testing.T, r *testenv.Repository, name string, sign signer) {
	t.Helper()
	payload := "object " + git(t, r, "rev-parse", "HEAD") + "\ntype commit\ntag " + name + "\ntagger Test <test@example.com> 1700000000 +0000\n\nrelease\n"
	hash := write(t, r, "tag", []byte(payload+sign(t, []byte(payload))))
	git(t, r, "update-ref", "refs/tags/"+name, hash)
	git(t, r, "push", "--quiet", "origin", "refs/tags/"+name)
}

func TestVerify(t *testing.T) {
	cases := map[string]struct {
		key  func(*testing.T) (signer, string)
		name string
	}{
		"SSH": {newSSH, "team.sshpub"},
		"PGP": {newPGP, "team.asc"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := start(t)
			sign, public := tc.key(t)
			stranger, strangers := tc.key(t)
			b.secret("signers", map[string]string{tc.name: public})
			repo, _ := b.repository("public")
			first := signHead(t, repo, sign)
			b.create(repo.URL(), func(s *sourcev1.GitRepositorySpec) {
				s.Verification = &sourcev1.GitRepositoryVerification{Mode: sourcev1.ModeGitHEAD, SecretRef: meta.LocalObjectReference{Name: "signers"}}
			})
			r := b.ready("main@sha1:" + first)
			verified := apimeta.FindStatusCondition(r.Status.Conditions, sourcev1.SourceVerifiedCondition)
			if verified == nil || verified.Status != "True" || !strings.Contains(verified.Message, first) {
				t.Errorf("SourceVerified: got %+v, want True for %s", verified, first)
			}

			// A commit that is not signed, and one that a stranger signed, change nothing.
			b.commit(repo, map[string]string{"app/cm.yaml": "a: evil\n"})
			b.ask("unsigned")
			b.failed("InvalidCommitSignature", "not signed", "signers")
			signHead(t, repo, stranger)
			b.ask("stranger")
			b.failed("InvalidCommitSignature", "signature is of none of")
			if got := b.file("app/cm.yaml"); got != "a: 1\n" {
				t.Errorf("app/cm.yaml: got %q, want what was verified", got)
			}

			// A key that is trusted now makes the same commit good at once, and one
			// that is no longer makes it bad.
			b.secretReplace("signers", map[string]string{tc.name: public, "stranger" + tc.name: strangers})
			head := git(t, repo, "rev-parse", "HEAD")
			b.ready("main@sha1:" + head)
			b.secretReplace("signers", map[string]string{tc.name: public})
			b.failed("InvalidCommitSignature", "signature is of none of")

			// Tags.
			signTag(t, repo, "v1.0.0", sign)
			b.change(func(r *sourcev1.GitRepository) {
				r.Spec.Reference = &sourcev1.GitRepositoryRef{Tag: "v1.0.0"}
				r.Spec.Verification.Mode = sourcev1.ModeGitTag
			})
			b.ready("v1.0.0@sha1:" + head)
			b.change(func(r *sourcev1.GitRepository) { r.Spec.Verification.Mode = sourcev1.ModeGitTagAndHEAD })
			b.failed("InvalidCommitSignature")
			signTag(t, repo, "v1.0.1", stranger)
			b.change(func(r *sourcev1.GitRepository) {
				r.Spec.Reference = &sourcev1.GitRepositoryRef{Tag: "v1.0.1"}
				r.Spec.Verification.Mode = sourcev1.ModeGitTag
			})
			b.failed("InvalidTagSignature")
		})
	}
}

// ask asks for a reconcile.
func (b *bench) ask(at string) {
	b.t.Helper()
	b.change(func(r *sourcev1.GitRepository) {
		r.Annotations = map[string]string{meta.ReconcileRequestAnnotation: at}
	})
}
