package source

import (
	"fmt"
	"io/fs"
	"testing"
	"time"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lockstep-dev/lockstep/test/testenv"
)

var gitServer = testenv.Share(func(t testing.TB) (*testenv.GitServer, error) {
	return testenv.StartGit(t.Context(), testenv.GitOptions{TLS: true})
})

// TestFetchBringsOnlyWhatIsNew follows a repository of many files over a change,
// a rename, a removal and a rewritten history, and counts the objects that come.
func TestFetchBringsOnlyWhatIsNew(t *testing.T) {
	git := gitServer.Get(t)
	repo, err := git.Repository(t.Context(), "public/incremental.git")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{".sourceignore": "hidden/\n", "hidden/x": "hidden"}
	for i := range 200 {
		files[fmt.Sprintf("apps/app-%d/cm.yaml", i)] = fmt.Sprintf("content of %d\n", i)
	}
	r := &sourcev1.GitRepository{Spec: sourcev1.GitRepositorySpec{
		URL: repo.URL(), Interval: metav1.Duration{Duration: time.Minute}, Reference: &sourcev1.GitRepositoryRef{Branch: "main"}}}
	s := &state{}
	for _, step := range []struct {
		name   string
		files  map[string]string
		force  bool
		most   int // objects that may come
		exists map[string]bool
	}{
		{"First", files, false, 1000, map[string]bool{"apps/app-7/cm.yaml": true, "hidden/x": false}},
		// A commit, the folders on the way down, and the file.
		{"Change", map[string]string{"apps/app-7/cm.yaml": "changed\n"}, false, 5, map[string]bool{"apps/app-7/cm.yaml": true, "apps/app-8/cm.yaml": true}},
		// No content at all: it is known, wherever it was.
		{"Rename", map[string]string{"moved/cm.yaml": "content of 9\n", "apps/app-9/cm.yaml": ""}, false, 4, map[string]bool{"moved/cm.yaml": true, "apps/app-9/cm.yaml": false}},
		// Files that were never kept must come after all.
		{"Uncover", map[string]string{".sourceignore": "other/\n"}, false, 1000, map[string]bool{"hidden/x": true, "moved/cm.yaml": true}},
		{"Rewritten", map[string]string{"apps/app-7/cm.yaml": "again\n"}, true, 1000, map[string]bool{"apps/app-7/cm.yaml": true, "hidden/x": true}},
	} {
		t.Run(step.name, func(t *testing.T) {
			if step.force {
				for _, args := range [][]string{{"checkout", "--quiet", "--orphan", "new"}, {"commit", "--quiet", "-m", "new"}, {"push", "--quiet", "--force", "origin", "new:main"}, {"branch", "-D", "main"}, {"branch", "-m", "main"}} {
					if _, err := repo.Git(t.Context(), args...); err != nil {
						t.Fatal(err)
					}
				}
			}
			hash, err := repo.Commit(t.Context(), step.name, step.files)
			if err != nil {
				t.Fatal(err)
			}
			snapshot, err := s.refresh(t.Context(), alone(r, credentials{keyCA: git.CA}))
			if err != nil {
				t.Fatal(err)
			}
			if want := "main@sha1:" + hash; snapshot.Revision != want {
				t.Errorf("revision: got %s, want %s", snapshot.Revision, want)
			}
			if s.received == 0 || s.received > step.most {
				t.Errorf("objects received: got %d, want at most %d", s.received, step.most)
			}
			for name, want := range step.exists {
				if _, err := fs.Stat(snapshot.Tree, name); (err == nil) != want {
					t.Errorf("%s in the tree: got %v, want %t", name, err, want)
				}
			}
			// The same commit, fetched anew, is the same tree.
			fresh, err := (&state{}).refresh(t.Context(), alone(r, credentials{keyCA: git.CA}))
			if err != nil {
				t.Fatal(err)
			}
			if fresh.Tree.Digest() != snapshot.Tree.Digest() {
				t.Errorf("digest: got %s, want %s as of a fresh fetch", snapshot.Tree.Digest(), fresh.Tree.Digest())
			}
		})
	}
}

// alone is a fetch of a repository that nobody else uses.
func alone(r *sourcev1.GitRepository, secret credentials) fetching {
	f := fetching{GitRepository: r, secret: secret, since: time.Now()}
	f.repository = (&pool{}).of(f)
	return f
}
