package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/gliderlabs/ssh"
	xssh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// keys are those of the host, and of the one who may come in.
type keys struct {
	host     xssh.Signer
	client   xssh.PublicKey
	identity string // PEM of the client's private key
}

func newKeys() (keys, error) {
	_, host, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return keys{}, fmt.Errorf("make a host key: %w", err)
	}
	public, client, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return keys{}, fmt.Errorf("make an identity: %w", err)
	}
	var k keys
	if k.host, err = xssh.NewSignerFromKey(host); err != nil {
		return keys{}, err
	}
	if k.client, err = xssh.NewPublicKey(public); err != nil {
		return keys{}, err
	}
	block, err := xssh.MarshalPrivateKey(client, "")
	if err != nil {
		return keys{}, err
	}
	k.identity = string(pem.EncodeToMemory(block))
	return k, nil
}

// knownHosts is the line of a known_hosts file for the server at addr.
func (k keys) knownHosts(addr string) string {
	return knownhosts.Line([]string{addr}, k.host.PublicKey())
}

// serveSSH serves git-upload-pack and git-receive-pack, and nothing else,
// until ctx ends.
func (s *server) serveSSH(ctx context.Context, l net.Listener, k keys) {
	server := &ssh.Server{
		Handler:          s.session,
		PublicKeyHandler: func(_ ssh.Context, key ssh.PublicKey) bool { return ssh.KeysEqual(key, k.client) },
	}
	server.AddHostKey(k.host)
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	_ = server.Serve(l) // ends with ctx
}

func (s *server) session(session ssh.Session) {
	command := session.Command()
	if len(command) != 2 || command[0] != "git-upload-pack" && command[0] != "git-receive-pack" {
		fmt.Fprintln(session.Stderr(), "only git-upload-pack and git-receive-pack are served")
		_ = session.Exit(1)
		return
	}
	s.control.Begin((&http.Request{}).WithContext(session.Context()), "ssh "+command[0]) // its delays only
	git := exec.CommandContext(session.Context(), command[0], filepath.Join(s.dir, filepath.Clean("/"+command[1])))
	git.Env = append(os.Environ(), session.Environ()...)
	git.Stdout, git.Stderr = session, session.Stderr()
	// A pipe, because with git.Stdin Run would wait for the client to hang up.
	in, err := git.StdinPipe()
	if err != nil {
		_ = session.Exit(1)
		return
	}
	go func() {
		_, _ = io.Copy(in, session) // ends with the session
		_ = in.Close()
	}()
	if err := git.Run(); err != nil {
		_ = session.Exit(1)
		return
	}
	_ = session.Exit(0)
}
