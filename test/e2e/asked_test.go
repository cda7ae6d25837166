//go:build unix

package e2e

import (
	"syscall"
	"testing"
	"time"
)

// A signal that people send to Sealed Secrets makes a new key at once, which is
// published; and only one.
func TestSignalMakesKey(t *testing.T) {
	s := newSettings(t)
	c, _ := s.start(nil, "--key-size=2048", "--key-renew-period=0")
	first := s.keys(1)[0]
	time.Sleep(1100 * time.Millisecond) // certificates count in seconds
	if err := c.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	for _, secret := range s.keys(2) {
		if secret.Name == first.Name {
			continue
		}
		eventually(t, enough, func() string {
			served, err := c.Certificate(t.Context())
			if err != nil || string(served) != string(secret.Data["tls.crt"]) {
				return "the new certificate is not served"
			}
			return ""
		})
	}
	time.Sleep(time.Second) // for what should not happen
	if n := len(s.keys(2)); n != 2 {
		t.Errorf("one signal made %d keys", n-1)
	}
}
