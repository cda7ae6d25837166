package source_test

import (
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-dev/lockstep/test/testenv"
)

func TestFollowsABranch(t *testing.T) {
	b := start(t)
	repo, first := b.repository("public")
	b.create(repo.URL(), nil)
	r := b.ready("main@sha1:" + first)
	if got := b.file("app/cm.yaml"); got != "a: 1\n" {
		t.Errorf("app/cm.yaml: got %q", got)
	}
	stored := apimeta.FindStatusCondition(r.Status.Conditions, sourcev1.ArtifactInStorageCondition)
	if stored == nil || stored.Status != "True" || stored.Message != "stored artifact for revision 'main@sha1:"+first+"'" {
		t.Errorf("ArtifactInStorage: got %+v", stored)
	}
	if !strings.HasPrefix(r.Status.Artifact.Digest, "sha256:") || r.Status.Artifact.LastUpdateTime.IsZero() {
		t.Errorf("artifact: got %+v", r.Status.Artifact)
	}

	second := b.commit(repo, map[string]string{"app/cm.yaml": "a: 2\n"})
	b.change(func(r *sourcev1.GitRepository) {
		r.Annotations = map[string]string{meta.ReconcileRequestAnnotation: "now"}
	})
	r = b.ready("main@sha1:" + second)
	if got := b.file("app/cm.yaml"); got != "a: 2\n" {
		t.Errorf("app/cm.yaml of the second commit: got %q", got)
	}
	if r.Status.LastHandledReconcileAt != "now" {
		t.Errorf("lastHandledReconcileAt: got %q, want now", r.Status.LastHandledReconcileAt)
	}
}

func TestUnchangedCostsOneListingAndNoWrites(t *testing.T) {
	b := start(t)
	repo, first := b.repository("public")
	b.create(repo.URL(), func(s *sourcev1.GitRepositorySpec) { s.Interval.Duration = time.Second })
	b.ready("main@sha1:" + first)
	time.Sleep(200 * time.Millisecond) // the event of the transition
	if err := b.git.ResetCounts(t.Context()); err != nil {
		t.Fatal(err)
	}
	writes := b.writes.Load()
	time.Sleep(2500 * time.Millisecond)
	counts, err := b.git.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := counts["refs git-upload-pack"]; n < 2 || n > 3 || len(counts) != 1 {
		t.Errorf("requests to the Git server in 2.5 intervals: got %v, want 2 listings", counts)
	}
	if got := b.writes.Load() - writes; got != 0 {
		t.Errorf("writes to the API server: got %d, want 0", got)
	}
}

func TestRefs(t *testing.T) {
	b := start(t)
	repo, first := b.repository("public")
	for _, args := range [][]string{{"tag", "v1.0.0"}, {"push", "--quiet", "--tags", "origin"}} {
		if _, err := repo.Git(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	second := b.commit(repo, map[string]string{"app/cm.yaml": "a: 2\n"})
	for _, args := range [][]string{{"tag", "-a", "-m", "x", "v1.1.0"}, {"push", "--quiet", "--tags", "origin"}} {
		if _, err := repo.Git(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	third := b.commit(repo, map[string]string{"app/cm.yaml": "a: 3\n"})
	b.create(repo.URL(), nil)
	b.ready("main@sha1:" + third)
	for _, step := range []struct {
		name     string
		ref      sourcev1.GitRepositoryRef
		revision string
		content  string
	}{
		{"Tag", sourcev1.GitRepositoryRef{Tag: "v1.0.0"}, "v1.0.0@sha1:" + first, "a: 1\n"},
		{"Semver", sourcev1.GitRepositoryRef{SemVer: "1.x"}, "v1.1.0@sha1:" + second, "a: 2\n"},
		{"Name", sourcev1.GitRepositoryRef{Name: "refs/heads/main"}, "refs/heads/main@sha1:" + third, "a: 3\n"},
		{"Commit", sourcev1.GitRepositoryRef{Branch: "main", Commit: first}, "main@sha1:" + first, "a: 1\n"},
	} {
		t.Run(step.name, func(t *testing.T) {
			b.change(func(r *sourcev1.GitRepository) { r.Spec.Reference = &step.ref })
			b.ready(step.revision)
			if got := b.file("app/cm.yaml"); got != step.content {
				t.Errorf("app/cm.yaml: got %q, want %q", got, step.content)
			}
		})
	}
}

func TestIgnore(t *testing.T) {
	b := start(t)
	repo, _ := b.repository("public")
	hash := b.commit(repo, map[string]string{"docs/a.yaml": "x", "logo.png": "x", ".github/w.yaml": "x", "keep/x.txt": "x", "keep/y.txt": "y",
		"keep/.sourceignore": "x.txt\n"})
	ignore := "docs/\n"
	b.create(repo.URL(), func(s *sourcev1.GitRepositorySpec) { s.Ignore = &ignore })
	b.ready("main@sha1:" + hash)
	s, _ := b.store.Get("GitRepository", b.ns, "repo")
	for name, want := range map[string]bool{"app/cm.yaml": true, "keep/y.txt": true, "docs/a.yaml": false, "logo.png": false, ".github/w.yaml": false, "keep/x.txt": false} {
		if _, err := fs.Stat(s.Tree, name); (err == nil) != want {
			t.Errorf("%s in the tree: got %v, want %t", name, err, want)
		}
	}
}

func TestCredentials(t *testing.T) {
	b := start(t)
	repo, first := b.repository("private")
	canary := testenv.NewCanary(t)
	ca := string(b.git.CA)
	b.create(repo.URL(), nil)
	b.failed(sourcev1.AuthenticationFailedReason, b.ns+"/git", "refuses")
	steps := []struct {
		name   string
		secret map[string]string
		reason string // of the failure; empty for success
	}{
		{"WrongPassword", map[string]string{"username": "git", "password": canary.Value(), "ca.crt": ca}, sourcev1.AuthenticationFailedReason},
		{"Password", map[string]string{"username": b.git.Username, "password": b.git.Password, "ca.crt": ca}, ""},
		{"WrongToken", map[string]string{"bearerToken": canary.Value(), "ca.crt": ca}, sourcev1.AuthenticationFailedReason},
		{"Token", map[string]string{"bearerToken": b.git.Token, "ca.crt": ca}, ""},
		{"NoCA", map[string]string{"bearerToken": b.git.Token}, sourcev1.GitOperationFailedReason},
		{"BadCA", map[string]string{"bearerToken": b.git.Token, "ca.crt": "nonsense"}, sourcev1.AuthenticationFailedReason},
		{"TokenAgain", map[string]string{"bearerToken": b.git.Token, "ca.crt": ca}, ""},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			// Nothing but the Secret changes: that must be enough.
			b.secretReplace("git", step.secret)
			if step.reason == "" {
				b.ready("main@sha1:" + first)
				return
			}
			b.failed(step.reason)
		})
	}
	canary.NotInCluster(t, b.cp, types.NamespacedName{Namespace: b.ns, Name: "git"})
	b.secretReplace("git", map[string]string{"username": "git", "password": canary.Value(), "ca.crt": ca})
	b.failed(sourcev1.AuthenticationFailedReason)
	canary.NotInCluster(t, b.cp, types.NamespacedName{Namespace: b.ns, Name: "git"})
}

// secretReplace replaces the whole data of a Secret.
func (b *bench) secretReplace(name string, data map[string]string) {
	b.t.Helper()
	s := &corev1.Secret{}
	if err := b.Get(b.t.Context(), types.NamespacedName{Namespace: b.ns, Name: name}, s); err != nil {
		b.t.Fatal(err)
	}
	s.Data, s.StringData = nil, data
	if err := b.Update(b.t.Context(), s); err != nil {
		b.t.Fatal(err)
	}
}

func TestSSH(t *testing.T) {
	b := start(t)
	repo, first := b.repository("private")
	b.secret("ssh", map[string]string{"identity": b.git.Identity, "known_hosts": b.git.KnownHosts})
	b.create(repo.SSH(), func(s *sourcev1.GitRepositorySpec) { s.SecretRef = &meta.LocalObjectReference{Name: "ssh"} })
	b.ready("main@sha1:" + first)

	host, _, _ := strings.Cut(b.git.KnownHosts, " ")
	b.secretReplace("ssh", map[string]string{"identity": b.git.Identity, "known_hosts": host + " ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"})
	b.failed(sourcev1.AuthenticationFailedReason, "known_hosts does not have")
	b.secretReplace("ssh", map[string]string{"identity": b.git.Identity, "known_hosts": b.git.KnownHosts})
	b.ready("main@sha1:" + first)
	b.secretReplace("ssh", map[string]string{"identity": b.git.Identity})
	b.failed(sourcev1.AuthenticationFailedReason, "known_hosts")
}

func TestFailuresSayWhatToDoAndKeepWhatWorks(t *testing.T) {
	b := start(t)
	repo, first := b.repository("public")
	b.create(repo.URL(), nil)
	b.ready("main@sha1:" + first)
	good := repo.URL()
	cases := []struct {
		name   string
		change func(*sourcev1.GitRepositorySpec)
		reason string
		parts  []string
	}{
		{"NoBranch", func(s *sourcev1.GitRepositorySpec) { s.Reference.Branch = "nope" }, sourcev1.GitOperationFailedReason, []string{"spec.ref.branch", `"nope"`, "main"}},
		{"NoRepository", func(s *sourcev1.GitRepositorySpec) { s.URL = b.git.HTTP + "/public/none.git" }, sourcev1.GitOperationFailedReason, []string{"no such repository", "spec.url"}},
		{"NoServer", func(s *sourcev1.GitRepositorySpec) { s.URL = "https://127.0.0.1:1/x.git" }, sourcev1.GitOperationFailedReason, []string{"127.0.0.1:1", "refused"}},
		{"NoSecret", func(s *sourcev1.GitRepositorySpec) { s.SecretRef = &meta.LocalObjectReference{Name: "none"} }, sourcev1.AuthenticationFailedReason, []string{"spec.secretRef", "does not exist"}},
		{"OverHTTP", func(s *sourcev1.GitRepositorySpec) {
			s.URL = "http://127.0.0.1:1/x.git"
			s.SecretRef = &meta.LocalObjectReference{Name: "basic"}
		}, sourcev1.AuthenticationFailedReason, []string{"http", "--allow-http-credentials"}},
		{"Azure", func(s *sourcev1.GitRepositorySpec) { s.Provider = "azure" }, "UnsupportedField", []string{"spec.provider"}},
		{"AWS", func(s *sourcev1.GitRepositorySpec) { s.Provider = "aws" }, "UnsupportedField", []string{"spec.provider", "generic"}},
		{"NoApp", func(s *sourcev1.GitRepositorySpec) { s.Provider = "github" }, sourcev1.AuthenticationFailedReason, []string{"githubAppID"}},
		{"NoSigners", func(s *sourcev1.GitRepositorySpec) {
			s.Verification = &sourcev1.GitRepositoryVerification{Mode: "HEAD", SecretRef: meta.LocalObjectReference{Name: "basic"}}
		}, sourcev1.VerificationError, []string{"spec.verify.secretRef", ".asc", ".sshpub"}},
		{"NoProxy", func(s *sourcev1.GitRepositorySpec) { s.ProxySecretRef = &meta.LocalObjectReference{Name: "proxy"} },
			sourcev1.GitOperationFailedReason, []string{"127.0.0.1:1"}},
	}
	b.secret("basic", map[string]string{"username": "u", "password": "p"})
	b.secret("proxy", map[string]string{"address": "http://127.0.0.1:1", "username": "u", "password": "p"})
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			b.change(func(r *sourcev1.GitRepository) { tc.change(&r.Spec) })
			b.failed(tc.reason, tc.parts...)
			b.toldOnce(tc.reason)
			if r := b.get(); r.Status.Artifact == nil || r.Status.Artifact.Revision != "main@sha1:"+first {
				t.Errorf("artifact: got %+v, want what was there", r.Status.Artifact)
			}
			if got := b.file("app/cm.yaml"); got != "a: 1\n" {
				t.Errorf("app/cm.yaml: got %q, want what was there", got)
			}
			b.change(func(r *sourcev1.GitRepository) {
				r.Spec.URL, r.Spec.Reference, r.Spec.SecretRef = good, &sourcev1.GitRepositoryRef{Branch: "main"}, &meta.LocalObjectReference{Name: "git"}
				r.Spec.Provider, r.Spec.Verification, r.Spec.ProxySecretRef = "", nil, nil
			})
			r := b.ready("main@sha1:" + first)
			if c := apimeta.FindStatusCondition(r.Status.Conditions, sourcev1.FetchFailedCondition); c != nil {
				t.Errorf("FetchFailed after recovery: got %+v, want none", c)
			}
		})
	}
}

func TestSuspend(t *testing.T) {
	b := start(t)
	repo, first := b.repository("public")
	b.create(repo.URL(), nil)
	b.ready("main@sha1:" + first)
	b.change(func(r *sourcev1.GitRepository) { r.Spec.Suspend = true })
	second := b.commit(repo, map[string]string{"app/cm.yaml": "a: 2\n"})
	b.change(func(r *sourcev1.GitRepository) {
		r.Annotations = map[string]string{meta.ReconcileRequestAnnotation: "x"}
	})
	time.Sleep(300 * time.Millisecond)
	if got := b.get().Status.Artifact.Revision; got != "main@sha1:"+first {
		t.Errorf("revision while suspended: got %s", got)
	}
	b.change(func(r *sourcev1.GitRepository) { r.Spec.Suspend = false })
	b.ready("main@sha1:" + second)
}

func TestDeletionForgets(t *testing.T) {
	b := start(t)
	repo, first := b.repository("public")
	b.create(repo.URL(), nil)
	b.ready("main@sha1:" + first)
	// As Flux would have left it.
	b.change(func(r *sourcev1.GitRepository) { r.Finalizers = []string{sourcev1.SourceFinalizer} })
	if err := b.Delete(t.Context(), b.get()); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		if _, ok := b.store.Get("GitRepository", b.ns, "repo"); !ok {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("the store still has the tree of a repository that is gone")
}
