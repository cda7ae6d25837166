package testenv

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// GitServer is a running Git server: test/servers/git.
type GitServer struct {
	*server
	// HTTP and SSH are the addresses; a repository's path follows.
	HTTP string
	SSH  string
	// Username with Password, or Token as a bearer, may do everything over
	// HTTP; so may Identity, a private key in PEM, over SSH.
	Username, Password, Token, Identity string
	// KnownHosts is the line of a known_hosts file for SSH.
	KnownHosts string
	// CA is the authority of HTTP, in PEM; empty without TLS.
	CA []byte
}

// GitOptions says how the Git server is. The zero value is good for tests.
type GitOptions struct {
	TLS      bool
	Progress io.Writer // gets a line per step that takes long; default: standard error
}

// StartGit builds the Git server if need be and starts it.
func StartGit(ctx context.Context, o GitOptions) (*GitServer, error) {
	repositories, err := os.MkdirTemp("", "lockstep-git-")
	if err != nil {
		return nil, fmt.Errorf("testenv: start git: %w", err)
	}
	var ready struct{ Address, CA, Username, Password, Token, SSH, Identity, KnownHosts string }
	s, err := startServer(ctx, serverOptions{program: "git", tls: o.TLS, progress: o.Progress, args: []string{"--dir", repositories}}, &ready)
	if err != nil {
		_ = os.RemoveAll(repositories)
		return nil, err
	}
	s.folders = append(s.folders, repositories)
	return &GitServer{
		server: s, HTTP: ready.Address, SSH: ready.SSH, Username: ready.Username, Password: ready.Password, Token: ready.Token,
		Identity: ready.Identity, KnownHosts: ready.KnownHosts, CA: []byte(ready.CA),
	}, nil
}

// Repository is a repository on a GitServer, with a clone to commit from.
type Repository struct {
	server *GitServer
	Path   string // such as public/fleet.git
	clone  string
}

// Repository makes an empty repository at path, which ends in .git. Below
// public/, anyone may read it.
func (g *GitServer) Repository(ctx context.Context, path string) (*Repository, error) {
	if err := g.admin(ctx, "PUT", "repositories", map[string]string{"path": path}, nil); err != nil {
		return nil, fmt.Errorf("testenv: make repository %s: %w", path, err)
	}
	clone, err := os.MkdirTemp("", "lockstep-clone-")
	if err != nil {
		return nil, fmt.Errorf("testenv: make repository %s: %w", path, err)
	}
	g.folders = append(g.folders, clone)
	r := &Repository{server: g, Path: path, clone: clone}
	if _, err := r.Git(ctx, "init", "--quiet", "--initial-branch=main", "."); err != nil {
		return nil, err
	}
	_, err = r.Git(ctx, "remote", "add", "origin", r.URL())
	return r, err
}

// URL is the address over HTTP.
func (r *Repository) URL() string { return r.server.HTTP + "/" + r.Path }

// SSH is the address over SSH.
func (r *Repository) SSH() string { return r.server.SSH + "/" + r.Path }

// Folder is the clone that Commit works in.
func (r *Repository) Folder() string { return r.clone }

// Git runs git in the clone, with the server's password at hand, and returns
// its trimmed output.
func (r *Repository) Git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = r.clone
	// By a variable of the process: an argument is for all to see.
	auth := "http." + r.server.HTTP + "/.extraHeader"
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Test", "GIT_AUTHOR_EMAIL=test@example.com", "GIT_COMMITTER_NAME=Test", "GIT_COMMITTER_EMAIL=test@example.com",
		"GIT_CONFIG_COUNT=2", "GIT_CONFIG_KEY_0="+auth, "GIT_CONFIG_VALUE_0=Authorization: Bearer "+r.server.Token,
		"GIT_CONFIG_KEY_1=http.sslVerify", fmt.Sprintf("GIT_CONFIG_VALUE_1=%t", len(r.server.CA) == 0))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("testenv: git %s: %w: %s", args[0], err, strings.TrimSpace(errs.String()))
	}
	return strings.TrimSpace(out.String()), nil
}

// Commit writes files, by path, commits everything in the clone and pushes the
// commit. A file without content is removed. It returns the commit's hash.
func (r *Repository) Commit(ctx context.Context, message string, files map[string]string) (string, error) {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := r.write(name, files[name]); err != nil {
			return "", fmt.Errorf("testenv: write %s: %w", name, err)
		}
	}
	for _, args := range [][]string{
		{"add", "--all"},
		{"commit", "--quiet", "--allow-empty", "--message", message},
		{"push", "--quiet", "origin", "HEAD"},
	} {
		if _, err := r.Git(ctx, args...); err != nil {
			return "", err
		}
	}
	return r.Git(ctx, "rev-parse", "HEAD")
}

func (r *Repository) write(name, content string) error {
	path := filepath.Join(r.clone, filepath.FromSlash(name))
	if content == "" {
		return os.Remove(path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o644)
}
