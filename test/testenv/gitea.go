package testenv

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"time"
)

// Gitea is a running Gitea: repositories, pull requests and their API. It has
// no web pages, which the module comes without.
type Gitea struct {
	*server
	// Address is that of the web server; repositories are at /OWNER/NAME.git.
	Address string
	// Username owns what CreateRepository makes; Token may do everything, as a
	// password over HTTP too.
	Username, Token string
}

// StartGitea builds Gitea if need be and starts it. ctx bounds the start only.
func StartGitea(ctx context.Context, progress io.Writer) (*Gitea, error) {
	if progress == nil {
		progress = os.Stderr
	}
	path, err := Binary(ctx, "gitea", progress)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "lockstep-gitea-")
	if err != nil {
		return nil, fmt.Errorf("testenv: start gitea: %w", err)
	}
	g := &Gitea{server: &server{dir: dir, client: &http.Client{Timeout: time.Minute}}, Username: "bot"}
	if err := g.start(ctx, path); err != nil {
		g.Stop()
		return nil, fmt.Errorf("testenv: start gitea: %w", err)
	}
	return g, nil
}

func (g *Gitea) start(ctx context.Context, path string) error {
	if err := g.configure(ctx); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"migrate"},
		{"admin", "user", "create", "--username", g.Username, "--random-password", "--email", "bot@example.com", "--admin", "--must-change-password=false"},
		{"admin", "user", "generate-access-token", "--username", g.Username, "--scopes", "all", "--raw"},
	} {
		cmd := exec.CommandContext(ctx, path, append([]string{"--config", filepath.Join(g.dir, "app.ini")}, args...)...)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("gitea %s: %w\n%s", strings.Join(args[:min(3, len(args))], " "), err, tail(errs.String(), 10))
		}
		g.Token = tail(string(out), 1) // what the last of them says, below its warnings
	}
	g.header = http.Header{"Authorization": {"token " + g.Token}, "Content-Type": {"application/json"}}
	var err error
	l := launch{name: "gitea", path: path, args: []string{"--config", filepath.Join(g.dir, "app.ini"), "web"}, dir: g.dir, logs: g.dir}
	if g.process, err = l.start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, serverStart)
	defer cancel()
	return poll(ctx, 50*time.Millisecond, "gitea to be ready", func(ctx context.Context) (bool, error) {
		_, err := get(ctx, g.Address+"/api/healthz")
		return err == nil, g.process.ended()
	})
}

// configure writes the settings of an instance that is open to this machine
// alone, and asks nothing of the network.
func (g *Gitea) configure(ctx context.Context) error {
	root, err := Root()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-mod=mod", "-f", "{{.Dir}}", "code.gitea.io/gitea")
	cmd.Dir, cmd.Env = filepath.Join(root, "test/servers/gitea"), append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	static, err := cmd.Output()
	if err != nil || strings.TrimSpace(string(static)) == "" {
		return fmt.Errorf("find the files of gitea's module: %w", err)
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	account, err := user.Current()
	if err != nil {
		return err
	}
	g.Address = fmt.Sprintf("http://127.0.0.1:%d", port)
	g.address = g.Address
	text := fmt.Sprintf(giteaSettings, account.Username, g.dir, port, g.Address, strings.TrimSpace(string(static)), g.dir)
	return os.WriteFile(filepath.Join(g.dir, "app.ini"), []byte(text), 0o600)
}

const giteaSettings = `
RUN_MODE = prod
I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true
RUN_USER = %s
WORK_PATH = %s
[server]
HTTP_ADDR = 127.0.0.1
HTTP_PORT = %d
ROOT_URL = %s/
STATIC_ROOT_PATH = %s
OFFLINE_MODE = true
DISABLE_SSH = true
LFS_START_SERVER = false
[database]
DB_TYPE = sqlite3
PATH = %s/gitea.db
[repository]
DEFAULT_BRANCH = main
[security]
INSTALL_LOCK = true
SECRET_KEY = of-this-test
[log]
MODE = console
LEVEL = warn
[service]
DISABLE_REGISTRATION = true
[cron.update_checker]
ENABLED = false
[indexer]
ISSUE_INDEXER_TYPE = db
[actions]
ENABLED = false
[oauth2]
JWT_SECRET = Y_EemYTaHGaRwAdFpVLmcQoDl-PitMC0uEsHLxXl6II
`

// API sends a request to the API, below /api/v1/, and reads the answer into out
// unless that is nil.
func (g *Gitea) API(ctx context.Context, method, path string, in, out any) error {
	return g.call(ctx, method, "/api/v1/"+path, in, out)
}

// CreateRepository makes a private repository with files on its branch main, and
// returns its address.
func (g *Gitea) CreateRepository(ctx context.Context, name string, files map[string]string) (string, error) {
	if err := g.API(ctx, http.MethodPost, "user/repos", map[string]any{"name": name, "private": true, "auto_init": true, "default_branch": "main"}, nil); err != nil {
		return "", err
	}
	for path, content := range files {
		body := map[string]any{"content": base64.StdEncoding.EncodeToString([]byte(content)), "message": "Add " + path, "branch": "main"}
		if err := g.API(ctx, http.MethodPost, "repos/"+g.Username+"/"+name+"/contents/"+path, body, nil); err != nil {
			return "", err
		}
	}
	return g.Address + "/" + g.Username + "/" + name + ".git", nil
}
