package source

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
)

// target is a commit to fetch.
type target struct {
	hash plumbing.Hash
	name string        // what the revision begins with; empty for a bare commit
	tag  plumbing.Hash // the annotated tag that points to it; zero if none
	// branch is where to look for a pinned commit that the server does not give
	// by itself; empty if hash is what a ref points to.
	branch plumbing.Hash
}

// revision spells t as Flux does.
// Source: https://github.com/fluxcd/flux2/blob/main/rfcs/0005-artifact-revision-and-digest/README.md
func (t target) revision() string {
	if t.name == "" {
		return "sha1:" + t.hash.String()
	}
	return t.name + "@sha1:" + t.hash.String()
}

const (
	branches = "refs/heads/"
	tags     = "refs/tags/"

	// defaultBranch is the branch of a spec without a ref, in Flux as here.
	defaultBranch = "master"
)

var commitHash = regexp.MustCompile(`^[0-9a-f]{40}$`)

// pinned returns the commit that ref pins, which needs no listing to be known.
func pinned(ref sourcev1.GitRepositoryRef) (plumbing.Hash, bool, error) {
	if ref.Commit == "" {
		return plumbing.ZeroHash, false, nil
	}
	if !commitHash.MatchString(ref.Commit) {
		return plumbing.ZeroHash, false, fmt.Errorf("spec.ref.commit: %q is not a commit: give all 40 digits of its hash, in lower case", ref.Commit)
	}
	return plumbing.NewHash(ref.Commit), true, nil
}

// choose returns what ref means among the refs that a server has listed:
// commit before name before semver before tag before branch.
func choose(ref sourcev1.GitRepositoryRef, listed *packp.AdvRefs) (target, error) {
	switch {
	case ref.Commit != "":
		return chooseCommit(ref, listed)
	case ref.Name != "":
		hash, err := named(listed, ref.Name, "spec.ref.name", "ref", "")
		return target{hash: hash, name: ref.Name}, err
	case ref.SemVer != "":
		return chooseVersion(ref.SemVer, listed)
	case ref.Tag != "":
		hash, err := named(listed, tags+ref.Tag, "spec.ref.tag", "tag", tags)
		return target{hash: hash, name: ref.Tag, tag: annotated(listed, ref.Tag)}, err
	default:
		branch := cmp.Or(ref.Branch, defaultBranch)
		hash, err := named(listed, branches+branch, "spec.ref.branch", "branch", branches)
		return target{hash: hash, name: branch}, err
	}
}

func chooseCommit(ref sourcev1.GitRepositoryRef, listed *packp.AdvRefs) (target, error) {
	t := target{name: ref.Branch}
	var err error
	if t.hash, _, err = pinned(ref); err != nil {
		return t, err
	}
	for _, hash := range listed.References {
		if hash == t.hash {
			return t, nil
		}
	}
	t.branch, err = named(listed, branches+cmp.Or(ref.Branch, defaultBranch), "spec.ref.branch", "branch", branches)
	if err != nil && ref.Branch == "" && listed.Head != nil {
		return target{hash: t.hash, branch: *listed.Head}, nil
	}
	return t, err
}

// chooseVersion returns the tag with the highest version in a range.
func chooseVersion(expression string, listed *packp.AdvRefs) (target, error) {
	within, err := semver.NewConstraint(expression)
	if err != nil {
		return target{}, fmt.Errorf("spec.ref.semver: %q is not a range of versions: write it like '>=1.2.0 <2.0.0' or '1.x'", expression)
	}
	var best *semver.Version
	var found string
	for _, ref := range slices.Sorted(maps.Keys(listed.References)) {
		tag, ok := strings.CutPrefix(ref, tags)
		if !ok {
			continue
		}
		v, err := semver.NewVersion(tag)
		if err != nil || !within.Check(v) || best != nil && !v.GreaterThan(best) {
			continue
		}
		best, found = v, tag
	}
	if best == nil {
		return target{}, fmt.Errorf("spec.ref.semver: no tag is a version within %q; there are %s", expression, some(listed, tags))
	}
	hash, err := named(listed, tags+found, "spec.ref.semver", "tag", tags)
	return target{hash: hash, name: found, tag: annotated(listed, found)}, err
}

// annotated returns the object that a tag is, if it is one besides its commit.
func annotated(listed *packp.AdvRefs, tag string) plumbing.Hash {
	if _, ok := listed.Peeled[tags+tag]; !ok {
		return plumbing.ZeroHash
	}
	return listed.References[tags+tag]
}

// named returns the commit that a ref points to.
func named(listed *packp.AdvRefs, ref, field, what, prefix string) (plumbing.Hash, error) {
	if hash, ok := listed.Peeled[ref]; ok { // the commit of an annotated tag
		return hash, nil
	}
	if hash, ok := listed.References[ref]; ok {
		return hash, nil
	}
	if ref == "HEAD" && listed.Head != nil {
		return *listed.Head, nil
	}
	return plumbing.ZeroHash, fmt.Errorf("%s: the repository has no %s %q; there are %s", field, what, strings.TrimPrefix(ref, prefix), some(listed, prefix))
}

// shown is how many refs a message lists.
const shown = 5

// some lists a few refs with a prefix, for a message.
func some(listed *packp.AdvRefs, prefix string) string {
	var names []string
	for ref := range listed.References {
		if name, ok := strings.CutPrefix(ref, prefix); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	switch more := len(names) - shown; {
	case len(names) == 0:
		return "none"
	case more > 0:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), more)
	default:
		return strings.Join(names, ", ")
	}
}

var errNotReachable = errors.New("the commit is not in the history of the branch")
