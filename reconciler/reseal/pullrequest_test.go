package reseal_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	lockstepv1alpha1 "github.com/lockstep-dev/lockstep/apis/lockstep/v1alpha1"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

var gitea = testenv.Share(func(t testing.TB) (*testenv.Gitea, error) { return testenv.StartGitea(t.Context(), nil) })

// By way of a pull request on a real Gitea: the work branch has one commit, the
// pull request is opened once, whatever is killed in between, and once it is
// merged the Reseal is done.
func TestPullRequest(t *testing.T) {
	b, g := newBench(t), gitea.Get(t)
	stop := b.run()
	url, err := g.CreateRepository(t.Context(), b.ns, map[string]string{"apps/a.yaml": b.manifest("a", "password")})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []client.Object{
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "git"}, StringData: map[string]string{"username": g.Username, "password": g.Token, "token": g.Token}},
		&sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "fleet"}, Spec: sourcev1.GitRepositorySpec{
			URL: url, Interval: metav1.Duration{Duration: time.Minute}, Reference: &sourcev1.GitRepositoryRef{Branch: "main"}, SecretRef: ref("git"),
		}},
	} {
		if err := b.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	newest := b.key()
	eventually(t, "both keys", func() bool { return b.ring.Len() == 2 })
	b.reseal(func(s *lockstepv1alpha1.ResealSpec) {
		s.PullRequest = &lockstepv1alpha1.PullRequestSpec{Forge: "gitea", API: g.Address + "/api/v1", SecretRef: lockstepv1alpha1.LocalReference{Name: "git"}}
	})
	r := b.until("the pull request", func(r *lockstepv1alpha1.Reseal, reason string) bool {
		return reason == "Merging" && r.Status.Commit != nil && r.Status.Commit.PullRequest != ""
	})
	if r.Status.Commit.Branch != "lockstep/reseal/main" || r.Status.Commit.Key != newest || len(r.Status.Needed) != 1 {
		t.Errorf("status: %+v", r.Status)
	}

	// Killed before the status was written: the branch is kept, and so is the pull request.
	stop()
	pushed := r.Status.Commit.SHA1
	r.Status = lockstepv1alpha1.ResealStatus{}
	if err := b.Status().Update(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	b.run()
	r = b.until("the pull request again", func(r *lockstepv1alpha1.Reseal, _ string) bool {
		return r.Status.Commit != nil && r.Status.Commit.PullRequest != ""
	})
	if r.Status.Commit.SHA1 != pushed {
		t.Errorf("the work branch was pushed again: %s, then %s", pushed, r.Status.Commit.SHA1)
	}
	repo := "repos/" + g.Username + "/" + b.ns
	var open []struct {
		Number int    `json:"number"`
		Title  string `json:"title"`
		Body   string `json:"body"`
	}
	if err := g.API(t.Context(), http.MethodGet, repo+"/pulls?state=open", nil, &open); err != nil {
		t.Fatal(err)
	}
	if len(open) != 1 || open[0].Title != "Seal again with the newest key" || !strings.Contains(open[0].Body, newest) {
		t.Fatalf("pull requests: %+v", open)
	}

	// The merge, and a request to look, as a webhook or the source makes one.
	eventually(t, "the merge", func() bool {
		return g.API(t.Context(), http.MethodPost, repo+"/pulls/1/merge", map[string]string{"Do": "merge"}, nil) == nil
	})
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"reconcile.fluxcd.io/requestedAt":"now"}}}`))
	if err := b.Patch(t.Context(), r, patch); err != nil {
		t.Fatal(err)
	}
	r = b.until("the end", func(_ *lockstepv1alpha1.Reseal, reason string) bool { return reason == "Resealed" })
	if len(r.Status.Unneeded) != 1 || len(r.Status.Needed) != 0 {
		t.Errorf("status: %+v", r.Status)
	}
	var file struct{ Content string }
	if err := g.API(t.Context(), http.MethodGet, repo+"/contents/apps/a.yaml", nil, &file); err != nil {
		t.Fatal(err)
	}
	if text, _ := base64.StdEncoding.DecodeString(file.Content); !strings.Contains(string(text), "# kept") {
		t.Errorf("the file is %q", text)
	}
}

// A push that a rule of the server forbids is reported as that, and changes
// nothing.
func TestProtectedBranch(t *testing.T) {
	b, g := newBench(t), gitea.Get(t)
	b.run()
	url, err := g.CreateRepository(t.Context(), b.ns, map[string]string{"a.yaml": b.manifest("a", "password")})
	if err != nil {
		t.Fatal(err)
	}
	repo := "repos/" + g.Username + "/" + b.ns
	if err := g.API(t.Context(), http.MethodPost, repo+"/branch_protections", map[string]any{"rule_name": "main", "enable_push": false}, nil); err != nil {
		t.Fatal(err)
	}
	for _, o := range []client.Object{
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "git"}, StringData: map[string]string{"username": g.Username, "password": g.Token}},
		&sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "fleet"}, Spec: sourcev1.GitRepositorySpec{
			URL: url, Interval: metav1.Duration{Duration: time.Minute}, Reference: &sourcev1.GitRepositoryRef{Branch: "main"}, SecretRef: ref("git"),
		}},
	} {
		if err := b.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	b.key()
	eventually(t, "both keys", func() bool { return b.ring.Len() == 2 })
	b.reseal(nil)
	r := b.until("the refusal", func(_ *lockstepv1alpha1.Reseal, reason string) bool { return reason == "PushRefused" })
	if r.Status.Commit != nil || len(r.Status.Needed) != 1 {
		t.Errorf("status: %+v", r.Status)
	}
}
