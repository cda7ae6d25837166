package vault_test

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jimlambrt/gldap"

	"github.com/lockstep-dev/lockstep/providers/conformance"
)

// directory is a server of LDAP that knows one person.
type directory struct {
	dn, password string

	mu    sync.Mutex
	bound []string // who tried
}

func (d *directory) bind(w *gldap.ResponseWriter, r *gldap.Request) {
	answer := r.NewBindResponse(gldap.WithResponseCode(gldap.ResultInvalidCredentials))
	if m, err := r.GetSimpleBindMessage(); err == nil {
		d.mu.Lock()
		d.bound = append(d.bound, m.UserName)
		d.mu.Unlock()
		if m.UserName == d.dn && string(m.Password) == d.password {
			answer.SetResultCode(gldap.ResultSuccess)
		}
	}
	_ = w.Write(answer) // the client is gone
}

// search finds nothing, and no groups in particular.
func search(w *gldap.ResponseWriter, r *gldap.Request) {
	_ = w.Write(r.NewSearchDoneResponse(gldap.WithResponseCode(gldap.ResultSuccess))) // as above
}

// serve starts d, and returns its address. The library wants to be told a port:
// one that was free a moment ago may be taken.
func (d *directory) serve(t *testing.T) string {
	t.Helper()
	for range 10 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		address := l.Addr().String()
		must(t, l.Close())
		server, err := gldap.NewServer(gldap.WithLogger(hclog.NewNullLogger()))
		must(t, err)
		mux, err := gldap.NewMux()
		must(t, err)
		must(t, mux.Bind(d.bind))
		must(t, mux.Search(search))
		must(t, server.Router(mux))
		ended := make(chan error, 1)
		go func() { ended <- server.Run(address) }()
		if answersAt(address, ended) {
			t.Cleanup(func() { _ = server.Stop() }) // the test is over
			return address
		}
	}
	t.Fatal("no port is free for a directory")
	return ""
}

// answersAt reports whether something listens, before it has ended.
func answersAt(address string, ended <-chan error) bool {
	for {
		select {
		case <-ended:
			return false
		case <-time.After(10 * time.Millisecond):
		}
		if c, err := net.DialTimeout("tcp", address, time.Second); err == nil {
			return c.Close() == nil
		}
	}
}

// TestLDAP logs in at a real server, which asks a directory.
func TestLDAP(t *testing.T) {
	v := server.Get(t)
	canary := enable(t, v, "ldap")
	d := &directory{dn: "uid=bob,ou=people,dc=example,dc=com", password: "builder-of-things"}
	must(t, v.Call(t.Context(), http.MethodPost, "auth/ldap/config", map[string]any{
		"url": "ldap://" + d.serve(t), "userdn": "ou=people,dc=example,dc=com", "userattr": "uid", "token_policies": "ldap"}, nil))
	for _, tc := range []struct {
		reason, user, password string
		denied                 bool
	}{
		{"Who the directory knows gets in; an editor's newline is no part of the password.", "bob", "builder-of-things\n", false},
		{"With another password nobody does.", "bob", "breaker-of-things", true},
		{"Nor does someone else.", "eve", "builder-of-things", true},
	} {
		t.Run(fmt.Sprint(tc.user, tc.denied), func(t *testing.T) {
			t.Log(tc.reason)
			refs := &conformance.References{}
			refs.Set("p", "password", tc.password)
			denied := ""
			if tc.denied {
				denied = tc.password
			}
			wantLogin(t, store(t, settings(v, map[string]any{"ldap": map[string]any{"username": tc.user, "secretRef": map[string]string{"name": "p", "key": "password"}}}), refs), "ldap/app", canary, denied)
		})
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Contains(d.bound, d.dn) || !slices.Contains(d.bound, "uid=eve,ou=people,dc=example,dc=com") {
		t.Errorf("the directory was asked for %q, want both", d.bound)
	}
}
