package source

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

func newKey(t *testing.T) ssh.PublicKey {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestKnownHosts(t *testing.T) {
	key, other := newKey(t), newKey(t)
	line := func(pattern string) string {
		return pattern + " " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
	}
	hashed := line(knownhosts.HashHostname("git.example.com"))
	cases := map[string]struct {
		text    string
		address string
		key     ssh.PublicKey
		want    bool
	}{
		"Plain":       {line("git.example.com"), "git.example.com:22", key, true},
		"Comment":     {"# github\n\n" + line("git.example.com"), "git.example.com:22", key, true},
		"Several":     {line("a.example.com,git.example.com"), "git.example.com:22", key, true},
		"Port":        {line("[git.example.com]:2222"), "git.example.com:2222", key, true},
		"OtherPort":   {line("git.example.com"), "git.example.com:2222", key, false},
		"OtherHost":   {line("git.example.com"), "evil.example.com:22", key, false},
		"OtherKey":    {line("git.example.com"), "git.example.com:22", other, false},
		"Wildcard":    {line("*.example.com"), "git.example.com:22", key, true},
		"Negated":     {line("*.example.com,!git.example.com"), "git.example.com:22", key, false},
		"Hashed":      {hashed, "git.example.com:22", key, true},
		"HashedOther": {hashed, "evil.example.com:22", key, false},
		"Revoked":     {line("git.example.com") + "\n@revoked " + line("*"), "git.example.com:22", key, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			hosts, err := parseKnownHosts([]byte(tc.text))
			if err != nil {
				t.Fatal(err)
			}
			err = hosts.check(tc.address, nil, tc.key)
			var refused *hostError
			if tc.want != (err == nil) || err != nil && !errors.As(err, &refused) {
				t.Errorf("check(%s): got %v, want accepted %t", tc.address, err, tc.want)
			}
		})
	}
}

func TestKnownHostsRefusesWhatIsNone(t *testing.T) {
	for name, text := range map[string]string{"Empty": "", "Comment": "# x\n", "Words": "hello world\n", "Authority": "@cert-authority *.x " + string(ssh.MarshalAuthorizedKey(newKey(t)))} {
		t.Run(name, func(t *testing.T) {
			if hosts, err := parseKnownHosts([]byte(text)); err == nil {
				t.Errorf("parseKnownHosts: got %v, want an error", hosts)
			}
		})
	}
}
