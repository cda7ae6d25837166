package source

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // G505: what OpenSSH hashes host names with
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"path"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/transport"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// knownHosts are the lines of a known_hosts file. The library for it reads
// files only, and a Secret's content belongs in none.
//
// Source: sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"
type knownHosts []knownHost

type knownHost struct {
	revoked  bool
	patterns []string
	key      ssh.PublicKey
}

func parseKnownHosts(text []byte) (knownHosts, error) {
	var hosts knownHosts
	for rest := text; ; {
		marker, patterns, key, _, next, err := ssh.ParseKnownHosts(rest)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			line := 1 + bytes.Count(text[:len(text)-len(rest)], []byte("\n"))
			return nil, fmt.Errorf("the entry at or after line %d is not a host and its key: write what ssh-keyscan prints", line)
		}
		if marker == "cert-authority" {
			return nil, errors.New("@cert-authority lines are not supported: list the keys of the hosts")
		}
		hosts = append(hosts, knownHost{marker == "revoked", patterns, key})
		rest = next
	}
	if len(hosts) == 0 {
		return nil, errors.New("there is no host in it: write what ssh-keyscan prints")
	}
	return hosts, nil
}

// check is an ssh.HostKeyCallback.
func (hosts knownHosts) check(address string, _ net.Addr, key ssh.PublicKey) error {
	found := false
	for _, h := range hosts {
		if !h.matches(knownhosts.Normalize(address)) || !bytes.Equal(h.key.Marshal(), key.Marshal()) {
			continue
		}
		if h.revoked {
			return &hostError{fmt.Errorf("the key of %s is revoked by known_hosts", address)}
		}
		found = true
	}
	if !found {
		return &hostError{fmt.Errorf("the server %s shows the %s key %s, which known_hosts does not have for it: if it is right, add it",
			address, key.Type(), ssh.FingerprintSHA256(key))}
	}
	return nil
}

// hostError says that a server is not the one that it should be.
type hostError struct{ err error }

func (e *hostError) Error() string { return e.err.Error() }

// algorithms are those of the keys that are known of a host, so that the
// server shows one of them and not another that it has as well.
func (hosts knownHosts) algorithms(address string) []string {
	var all []string
	for _, h := range hosts {
		switch {
		case h.revoked || !h.matches(knownhosts.Normalize(address)):
		case h.key.Type() == ssh.KeyAlgoRSA: // never with SHA-1
			all = append(all, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		default:
			all = append(all, h.key.Type())
		}
	}
	return all
}

// matches reports whether a line is about host, in normal form.
func (h knownHost) matches(host string) bool {
	found := false
	for _, p := range h.patterns {
		negated := strings.HasPrefix(p, "!")
		if !matchHost(strings.TrimPrefix(p, "!"), host) {
			continue
		}
		if negated {
			return false
		}
		found = true
	}
	return found
}

func matchHost(pattern, host string) bool {
	if hashed, ok := strings.CutPrefix(pattern, "|1|"); ok {
		salt, sum, _ := strings.Cut(hashed, "|")
		key, err := base64.StdEncoding.DecodeString(salt)
		if err != nil {
			return false
		}
		mac := hmac.New(sha1.New, key)
		mac.Write([]byte(host))
		return base64.StdEncoding.EncodeToString(mac.Sum(nil)) == sum
	}
	// Brackets stand for themselves here, and for a set in path.Match.
	escaped := strings.NewReplacer("[", `\[`, "]", `\]`).Replace(pattern)
	ok, err := path.Match(escaped, host)
	return ok && err == nil
}

func sshAddress(e *transport.Endpoint) string {
	port := e.Port
	if port <= 0 {
		port = gitssh.DefaultPort
	}
	return net.JoinHostPort(e.Host, strconv.Itoa(port))
}
