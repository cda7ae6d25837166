package seal

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/sealer"
	"github.com/lockstep-dev/lockstep/test/seeds"
)

// trusting returns what seals for a server, with a pin file of its own.
func trusting(t testing.TB, path string) (*trust, *bytes.Buffer) {
	t.Helper()
	said := &bytes.Buffer{}
	return &trust{pins: path, errs: said, now: time.Now}, said
}

// What a server publishes is trusted the first time, and another key later only
// if the one before signed it: so nobody makes a client seal for the certificate
// of another by hiding the signed keys.
func TestServerPins(t *testing.T) {
	files := material(t)
	_, cert, err := sealer.NewCertificate(sealer.MinKeySize, time.Hour, "")
	if err != nil {
		t.Fatal(err)
	}
	other := sealer.EncodeCertificate(cert)
	fingerprint, err := sealer.Fingerprint(cert.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	const a, b = "https://a", "https://b"
	for name, steps := range map[string][]struct {
		server, accept string
		text           []byte
		untrusted      bool
		says           string
	}{
		"Keys": {
			{server: a, text: files["old.json"], says: "first use"}, {server: a, text: files["old.json"]}, {server: a, text: files["both.json"]}, {server: a, text: files["new.json"]},
			{server: a, text: files["old.json"], untrusted: true}, {server: a, text: files["strange.json"], untrusted: true}, {server: b, text: files["strange.json"], says: "first use"},
		},
		"Downgrade": {
			{server: a, text: files["old.json"], says: "first use"}, {server: a, text: files["cert.pem"], untrusted: true}, {server: a, text: other, untrusted: true},
			{server: a, text: other, accept: fingerprint, says: "in the place of"}, {server: a, text: other},
		},
		"Certificate": {
			{server: a, text: files["cert.pem"], says: "first use"}, {server: a, text: files["cert.pem"]}, {server: b, text: other, says: "first use"},
			{server: a, text: other, untrusted: true}, {server: a, text: files["old.json"], untrusted: true}, {server: a, text: other, accept: fingerprint, says: "in the place of"},
		},
		"Upgrade": {
			{server: a, text: files["cert.pem"], says: "first use"}, {server: a, text: files["new.json"], untrusted: true},
			{server: a, text: files["new.json"], accept: string(files["newest"]), says: "in the place of"}, {server: a, text: files["cert.pem"], untrusted: true},
		},
		"Accept": {{server: a, text: files["cert.pem"], says: "first use"}, {server: a, text: other, accept: "00", untrusted: true}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "new", "pins.json")
			for n, s := range steps {
				before, _ := os.ReadFile(path)
				c, said := trusting(t, path)
				c.accept = s.accept
				_, err := c.target(s.text, s.server)
				if (err != nil) != s.untrusted || err != nil && s.accept == "" && (!errors.Is(err, sealer.ErrUntrusted) || !strings.Contains(err.Error(), "--accept-key")) {
					t.Errorf("step %d: got %v, untrusted: %v", n, err, s.untrusted)
				}
				if s.says == "" && said.Len() > 0 || !strings.Contains(said.String(), s.says) {
					t.Errorf("step %d: it says %q, want %q", n, said, s.says)
				}
				after, err := os.ReadFile(path)
				if err != nil || s.untrusted && !bytes.Equal(before, after) {
					t.Errorf("step %d: the pins became\n%s\n%v", n, after, err)
				}
			}
		})
	}
}

// FuzzPins checks that a pin file is read or refused, and that what is not
// trusted leaves it as it was.
func FuzzPins(f *testing.F) {
	files := material(f)
	path := filepath.Join(f.TempDir(), "pins.json")
	c, _ := trusting(f, path)
	if _, err := c.target(files["old.json"], "https://a"); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	seeds.Add(f, string(good), "{}", "{", "null", `{"clusters":[null]}`, `{"clusters":[{}]}`, `{"clusters":[{"servers":["https://a"]}]}`, `{"clusters":[{"servers":["https://a"],"certificate":"00"}]}`, "")
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "pins.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, _ := trusting(t, path)
		_, err := c.target(files["strange.json"], "https://a")
		after, readErr := os.ReadFile(path)
		if readErr != nil || err != nil && string(after) != text {
			t.Errorf("%v: %q became %q", err, text, after)
		}
	})
}
