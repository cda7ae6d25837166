// Command git is a Git server on loopback: smart HTTP by git's own
// git-http-backend and SSH by git's own upload-pack and receive-pack, both with
// push. Repositories below public/ are read by anyone over HTTP; everything
// else needs the user's password, the bearer token or, over SSH, the identity.
//
// It prints one line of JSON: its addresses, its credentials, its host key and,
// with --tls, its authority. PUT /_admin/repositories makes a repository;
// /_admin/counters and /_admin/faults are those of every test server.
package main

import (
	"crypto/rand"
	"encoding/hex"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/lockstep-dev/lockstep/test/servers/serve"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "git:", err)
		os.Exit(1)
	}
}

func run() error {
	listen := flag.String("listen", "127.0.0.1:0", "address of the HTTP server")
	secure := flag.Bool("tls", false, "speak TLS, under an authority of its own")
	dir := flag.String("dir", "", "folder to keep the repositories in")
	flag.Parse()
	if *dir == "" {
		return fmt.Errorf("--dir is missing")
	}
	ctx, cancel := serve.Context()
	defer cancel()

	s, err := newServer(*dir)
	if err != nil {
		return err
	}
	l, ca, err := serve.Listen(*listen, *secure)
	if err != nil {
		return err
	}
	address := "http://" + l.Addr().String()
	if *secure {
		address = "https://" + l.Addr().String()
	}
	shell, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for SSH: %w", err)
	}
	keys, err := newKeys()
	if err != nil {
		return err
	}
	go s.serveSSH(ctx, shell, keys)
	if err := serve.Ready(map[string]string{
		"address": address, "ca": ca, "username": user, "password": s.password, "token": s.token,
		"ssh": "ssh://" + user + "@" + shell.Addr().String(), "identity": keys.identity, "knownHosts": keys.knownHosts(shell.Addr().String()),
	}); err != nil {
		return err
	}
	return serve.HTTP(ctx, l, s.handler())
}

// user is the one who may do everything.
const user = "git"

// server serves the repositories below dir.
type server struct {
	dir, execPath   string
	password, token string
	control         serve.Control
}

func newServer(dir string) (*server, error) {
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return nil, fmt.Errorf("find git: %w", err)
	}
	s := &server{dir: dir, execPath: strings.TrimSpace(string(out))}
	if s.password, err = random(); err != nil {
		return nil, err
	}
	s.token, err = random()
	return s, err
}

func random() (string, error) {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		return "", err
	}
	return hex.EncodeToString(b), nil
}

// repositoryName is what can be a path of a repository here.
var repositoryName = regexp.MustCompile(`^[a-z0-9-]+(/[a-z0-9-]+)*\.git$`)

type repository struct {
	Path string `json:"path"` // such as public/fleet.git
}

// create makes a bare repository whose branch is main.
func (s *server) create(in repository) (any, error) {
	if !repositoryName.MatchString(in.Path) {
		return nil, fmt.Errorf("path %q: want words of a-z, 0-9 and -, separated by /, and .git at the end", in.Path)
	}
	path := filepath.Join(s.dir, in.Path)
	for _, args := range [][]string{
		{"init", "--quiet", "--bare", "--initial-branch=main", path},
		{"-C", path, "config", "http.receivepack", "true"},
		{"-C", path, "config", "uploadpack.allowReachableSHA1InWant", "true"}, // as GitHub and GitLab do
	} {
		if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("git %s: %w: %s", args[0], err, out)
		}
	}
	return struct{}{}, nil
}

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	s.control.Handle(mux)
	mux.HandleFunc("PUT /_admin/repositories", serve.JSON(s.create))
	mux.HandleFunc("/", s.serveGit)
	return mux
}
