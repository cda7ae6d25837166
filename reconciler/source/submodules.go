package source

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/fluxcd/pkg/sourceignore"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
)

// Limits of submodules, which a repository can name without end.
const (
	maxSubmodules     = 50
	maxSubmoduleDepth = 5
)

// modulesFile is where a repository says where its submodules are.
const modulesFile = ".gitmodules"

// link is a submodule: a commit of another repository, at a path.
type link struct {
	path   string
	commit plumbing.Hash
}

// modules are the submodules of a run.
type modules struct {
	state *state
	of    fetching
	all   *collector
	left  int
	known map[string]*checkout // that this run has used
}

// submodules puts the files of submodules into the tree of a checkout. They
// are fetched with the same credentials, and therefore from the same host only.
func (s *state) submodules(ctx context.Context, f fetching, c *checkout) error {
	if !f.Spec.RecurseSubmodules || len(c.links) == 0 {
		return nil
	}
	m := &modules{state: s, of: f, all: newCollector(c.tree), left: maxSubmodules, known: map[string]*checkout{}}
	for name, file := range c.tree.files {
		if err := m.all.share(name, file); err != nil {
			return err
		}
	}
	if err := m.add(ctx, f.Spec.URL, "", c, 1); err != nil {
		return err
	}
	tree, err := m.all.tree()
	if err != nil {
		return &treeError{err}
	}
	c.tree, s.modules = tree, m.known
	return nil
}

// moduleError is about a submodule that cannot be fetched.
type moduleError struct {
	path string
	err  error
}

func (e *moduleError) Error() string { return "submodule " + e.path + ": " + e.err.Error() }
func (e *moduleError) Unwrap() error { return e.err }

// add adds the submodules of a repository at an address, which is itself at a
// path.
func (m *modules) add(ctx context.Context, address, at string, c *checkout, depth int) error {
	if len(c.links) == 0 {
		return nil
	}
	if depth > maxSubmoduleDepth {
		return &treeError{fmt.Errorf("%s: submodules lie more than %d deep in each other", at, maxSubmoduleDepth)}
	}
	where, err := addresses(c.modules)
	if err != nil {
		return &treeError{fmt.Errorf("%s cannot be read", path.Join(at, modulesFile))}
	}
	for _, l := range c.links {
		if m.left--; m.left < 0 {
			return &treeError{fmt.Errorf("there are more than %d submodules", maxSubmodules)}
		}
		name := path.Join(at, l.path)
		from, err := resolve(address, where[l.path])
		if err != nil {
			return &treeError{fmt.Errorf("submodule %s: %w", name, err)}
		}
		sub, err := m.fetch(ctx, from, l.commit)
		if err != nil {
			return &moduleError{name, err}
		}
		if err := m.merge(name, sub); err != nil {
			return &treeError{err}
		}
		if err := m.add(ctx, from, name, sub, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// addresses reads a .gitmodules file: where submodules are, by their path.
func addresses(text []byte) (map[string]string, error) {
	named := config.NewModules()
	if err := named.Unmarshal(text); err != nil {
		return nil, fmt.Errorf("read %s: %w", modulesFile, err)
	}
	where := map[string]string{}
	for _, sub := range named.Submodules {
		where[path.Clean(sub.Path)] = sub.URL
	}
	return where, nil
}

// resolve returns the address of a submodule, which may be written in terms of
// that of the repository that has it.
func resolve(parent, address string) (string, error) {
	if address == "" {
		return "", fmt.Errorf("%s does not say where it is", modulesFile)
	}
	base, err := url.Parse(parent)
	if err != nil {
		return "", errors.New("the repository's own address cannot be read")
	}
	if strings.HasPrefix(address, "./") || strings.HasPrefix(address, "../") {
		next := *base
		next.Path = path.Join("/", base.Path, address)
		return next.String(), nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != base.Scheme || u.Host != base.Host || u.User.String() != "" && u.User.String() != base.User.String() {
		return "", fmt.Errorf("it is not at %s://%s, where the repository is: credentials are for one host", base.Scheme, base.Host)
	}
	u.User = base.User
	return u.String(), nil
}

// fetch returns a commit of a submodule, which need not be fetched twice.
func (m *modules) fetch(ctx context.Context, address string, commit plumbing.Hash) (*checkout, error) {
	key := address + "@" + commit.String()
	if c := m.known[key]; c != nil {
		return c, nil
	}
	if c := m.state.modules[key]; c != nil {
		m.known[key] = c
		return c, nil
	}
	r, err := newRemote(address, m.of.secret, m.of.access())
	if err != nil {
		return nil, err
	}
	defer r.close()
	session, err := r.open()
	if err != nil {
		return nil, err
	}
	defer session.Close()
	t, err := session.list(ctx, sourcev1.GitRepositoryRef{Commit: commit.String()})
	if err != nil {
		return nil, err
	}
	objects, err := session.fetch(ctx, t, nil)
	if err != nil {
		return nil, err
	}
	c, err := read(objects, commit, selection{}, nil)
	if err != nil {
		return nil, &treeError{err}
	}
	m.known[key] = c
	return c, nil
}

// merge puts the files of a submodule below a path.
func (m *modules) merge(at string, c *checkout) error {
	ignore := ""
	if m.of.Spec.Ignore != nil {
		ignore = *m.of.Spec.Ignore
	}
	match := sourceignore.NewMatcher(sourceignore.ReadPatterns(strings.NewReader(ignore), nil))
	for name, f := range c.tree.files {
		if name = path.Join(at, name); ignored(match, name) {
			continue
		}
		if err := m.all.share(name, f); err != nil {
			return err
		}
	}
	return nil
}
