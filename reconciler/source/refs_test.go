package source

import (
	"strings"
	"testing"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
)

func hash(digit string) plumbing.Hash { return plumbing.NewHash(strings.Repeat(digit, 40)) }

func TestChoose(t *testing.T) {
	head := hash("1")
	listed := packp.NewAdvRefs()
	listed.Head = &head
	for ref, h := range map[string]string{
		"refs/heads/main": "1", "refs/heads/dev": "2", "refs/pull/7/head": "3",
		"refs/tags/v1.0.0": "4", "refs/tags/v1.2.0": "5", "refs/tags/v1.10.0": "6", "refs/tags/v2.0.0-rc.1": "7", "refs/tags/latest": "8",
	} {
		listed.References[ref] = hash(h)
	}
	listed.Peeled["refs/tags/v1.10.0"] = hash("9")

	cases := map[string]struct {
		reason  string
		ref     sourcev1.GitRepositoryRef
		want    string // revision
		wantErr []string
	}{
		"Branch":      {ref: sourcev1.GitRepositoryRef{Branch: "dev"}, want: "dev@sha1:" + hash("2").String()},
		"Tag":         {ref: sourcev1.GitRepositoryRef{Tag: "v1.0.0"}, want: "v1.0.0@sha1:" + hash("4").String()},
		"Annotated":   {reason: "A tag object is not a commit: its commit counts.", ref: sourcev1.GitRepositoryRef{Tag: "v1.10.0"}, want: "v1.10.0@sha1:" + hash("9").String()},
		"Semver":      {reason: "1.10 is above 1.2.", ref: sourcev1.GitRepositoryRef{SemVer: "1.x"}, want: "v1.10.0@sha1:" + hash("9").String()},
		"Release":     {reason: "A candidate is not within a range that names none.", ref: sourcev1.GitRepositoryRef{SemVer: ">=1.0.0"}, want: "v1.10.0@sha1:" + hash("9").String()},
		"Candidate":   {ref: sourcev1.GitRepositoryRef{SemVer: ">=1.0.0-0"}, want: "v2.0.0-rc.1@sha1:" + hash("7").String()},
		"Name":        {ref: sourcev1.GitRepositoryRef{Name: "refs/pull/7/head"}, want: "refs/pull/7/head@sha1:" + hash("3").String()},
		"Commit":      {ref: sourcev1.GitRepositoryRef{Commit: hash("a").String(), Branch: "dev"}, want: "dev@sha1:" + hash("a").String()},
		"BareCommit":  {ref: sourcev1.GitRepositoryRef{Commit: hash("1").String()}, want: "sha1:" + hash("1").String()},
		"Precedence":  {reason: "Commit before name before semver before tag before branch.", ref: sourcev1.GitRepositoryRef{Name: "refs/heads/main", SemVer: "1.x", Tag: "v1.0.0", Branch: "dev"}, want: "refs/heads/main@sha1:" + hash("1").String()},
		"NoBranch":    {ref: sourcev1.GitRepositoryRef{Branch: "nope"}, wantErr: []string{"spec.ref.branch", `"nope"`, "dev, main"}},
		"NoTag":       {ref: sourcev1.GitRepositoryRef{Tag: "v9"}, wantErr: []string{"spec.ref.tag", `"v9"`, "latest"}},
		"Default":     {reason: "Flux's default is master, which is not there.", wantErr: []string{`"master"`, "dev, main"}},
		"NoVersion":   {ref: sourcev1.GitRepositoryRef{SemVer: ">=3"}, wantErr: []string{"spec.ref.semver", ">=3"}},
		"BadRange":    {ref: sourcev1.GitRepositoryRef{SemVer: "newest"}, wantErr: []string{"spec.ref.semver", "newest"}},
		"ShortCommit": {ref: sourcev1.GitRepositoryRef{Commit: "abc123"}, wantErr: []string{"spec.ref.commit", "40 digits"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := choose(tc.ref, listed)
			if tc.wantErr == nil {
				if err != nil || got.revision() != tc.want {
					t.Errorf("%s\nchoose(%+v): got %s, %v, want %s", tc.reason, tc.ref, got.revision(), err, tc.want)
				}
				return
			}
			if err == nil {
				t.Fatalf("%s\nchoose(%+v): got %s, want an error", tc.reason, tc.ref, got.revision())
			}
			for _, part := range tc.wantErr {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s\nchoose(%+v): got %q, want %q in it", tc.reason, tc.ref, err, part)
				}
			}
		})
	}
}
