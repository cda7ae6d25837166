package source

import (
	"errors"
	"testing"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/lockstep-dev/lockstep/test/testenv"
)

// A lost race is told from a rule of the server.
func TestRefused(t *testing.T) {
	for reason, raced := range map[string]bool{
		"failed to update ref": true, "cannot lock ref": true, "non-fast-forward": true, "fetch first": true,
		"pre-receive hook declined": false, "protected branch hook declined": false,
	} {
		err := refused(&packp.ReportStatus{UnpackStatus: "ok", CommandStatuses: []*packp.CommandStatus{{Status: reason}}})
		var rule *RefusedError
		if errors.Is(err, ErrRaced) != raced || errors.As(err, &rule) == raced {
			t.Errorf("%s: got %v", reason, err)
		}
	}
}

var pushed = testenv.Share(func(t testing.TB) (*testenv.GitServer, error) {
	return testenv.StartGit(t.Context(), testenv.GitOptions{})
})

// Of two pushes on the same head the second changes nothing, and says that it
// lost.
func TestPushRace(t *testing.T) {
	git := pushed.Get(t)
	repo, err := git.Repository(t.Context(), "team/race.git")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Commit(t.Context(), "first", map[string]string{"a.yaml": "x"}); err != nil {
		t.Fatal(err)
	}
	r, err := OpenRepository(&sourcev1.GitRepository{Spec: sourcev1.GitRepositorySpec{URL: repo.URL()}},
		map[string][]byte{keyUsername: []byte(git.Username), keyPassword: []byte(git.Password)}, true)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	objects, head, err := r.Fetch(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	if tree, err := Files(objects, head, func(string) bool { return true }); err != nil || tree.Size() != 1 {
		t.Errorf("the files have %d bytes, %v", tree.Size(), err)
	}
	first, second := commitOn(t, objects, head, "one"), commitOn(t, objects, head, "two")
	if err := r.Push(t.Context(), objects, "main", Move{Old: head, New: first, Objects: []plumbing.Hash{first}}); err != nil {
		t.Fatalf("the first push: %v", err)
	}
	if err := r.Push(t.Context(), objects, "main", Move{Old: head, New: second, Objects: []plumbing.Hash{second}}); !errors.Is(err, ErrRaced) {
		t.Errorf("the second push: %v", err)
	}
	if now, err := r.Head(t.Context(), "main"); err != nil || now != first {
		t.Errorf("the branch is at %s, %v", now, err)
	}
	if _, err := r.Head(t.Context(), "nowhere"); !errors.Is(err, ErrNoBranch) {
		t.Errorf("a branch that is not there: %v", err)
	}
	if err := r.Push(t.Context(), objects, "new", Move{New: second, Objects: []plumbing.Hash{second}}); err != nil {
		t.Errorf("a new branch: %v", err)
	}
}

func commitOn(t *testing.T, objects *memory.Storage, head plumbing.Hash, message string) plumbing.Hash {
	t.Helper()
	parent, err := object.GetCommit(objects, head)
	if err != nil {
		t.Fatal(err)
	}
	o := objects.NewEncodedObject()
	c := &object.Commit{Author: parent.Author, Committer: parent.Author, Message: message, TreeHash: parent.TreeHash, ParentHashes: []plumbing.Hash{head}}
	if err := c.Encode(o); err != nil {
		t.Fatal(err)
	}
	hash, err := objects.SetEncodedObject(o)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}
