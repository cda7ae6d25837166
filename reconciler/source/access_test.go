package source_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/golang-jwt/jwt/v5"
	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-dev/lockstep/test/testenv"
)

// github is the part of GitHub's API that gives tokens to Apps. It is written
// from its documentation: https://docs.github.com/en/rest/apps/apps
type github struct {
	*httptest.Server
	key     *rsa.PrivateKey
	token   string
	expires time.Duration
	made    atomic.Int64
}

func startGitHub(t *testing.T, token string) *github {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	g := &github{key: key, token: token, expires: time.Hour}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /orgs/{owner}/installation", func(w http.ResponseWriter, r *http.Request) {
		g.answer(w, r, r.PathValue("owner") == "team", http.StatusOK, `{"id":77}`)
	})
	mux.HandleFunc("GET /users/{owner}/installation", func(w http.ResponseWriter, r *http.Request) {
		g.answer(w, r, r.PathValue("owner") == "someone", http.StatusOK, `{"id":77}`)
	})
	mux.HandleFunc("POST /app/installations/{id}/access_tokens", func(w http.ResponseWriter, r *http.Request) {
		g.made.Add(1)
		g.answer(w, r, r.PathValue("id") == "77", http.StatusCreated, fmt.Sprintf(`{"token":%q,"expires_at":%q}`, g.token, time.Now().Add(g.expires).UTC().Format(time.RFC3339)))
	})
	g.Server = httptest.NewTLSServer(mux)
	t.Cleanup(g.Close)
	return g
}

// answer gives something to whoever shows a JWT that GitHub would take.
func (g *github) answer(w http.ResponseWriter, r *http.Request, there bool, status int, body string) {
	claims := &jwt.RegisteredClaims{}
	bearer := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	_, err := jwt.ParseWithClaims(bearer, claims, func(*jwt.Token) (any, error) { return &g.key.PublicKey, nil },
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithIssuer("1234"), jwt.WithExpirationRequired(), jwt.WithIssuedAt())
	if err != nil || time.Until(claims.ExpiresAt.Time) > 10*time.Minute {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if !there {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func (g *github) secret(git *testenv.GitServer) map[string]string {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: g.Certificate().Raw})
	return map[string]string{
		"githubAppID": "1234", "githubAppInstallationID": "77", "githubAppBaseURL": g.URL, "ca.crt": string(git.CA) + string(ca),
		"githubAppPrivateKey": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(g.key)})),
	}
}

// TestGitHubApp fetches a private repository by a token that an App is given,
// once as long as it lasts.
func TestGitHubApp(t *testing.T) {
	b := start(t)
	hub := startGitHub(t, b.git.Token)
	repo, first := b.repository("private")
	b.secret("app", hub.secret(b.git))
	b.create(repo.URL(), func(s *sourcev1.GitRepositorySpec) {
		s.Provider, s.SecretRef = "github", &meta.LocalObjectReference{Name: "app"}
	})
	b.ready("main@sha1:" + first)
	second := b.commit(repo, map[string]string{"app/cm.yaml": "a: 2\n"})
	b.change(func(r *sourcev1.GitRepository) {
		r.Annotations = map[string]string{meta.ReconcileRequestAnnotation: "x"}
	})
	b.ready("main@sha1:" + second)
	if n := hub.made.Load(); n != 1 {
		t.Errorf("tokens: got %d, want 1", n)
	}
	for _, owner := range []string{"team", "someone"} { // an organization, and a user
		secret := hub.secret(b.git)
		delete(secret, "githubAppInstallationID")
		secret["githubAppInstallationOwner"] = owner
		b.secret("owner-"+owner, secret)
		b.change(func(r *sourcev1.GitRepository) { r.Spec.SecretRef.Name = "owner-" + owner })
		b.ready("main@sha1:" + second)
	}
	wrong := hub.secret(b.git)
	wrong["githubAppID"] = "1"
	b.secret("wrong", wrong)
	b.change(func(r *sourcev1.GitRepository) { r.Spec.SecretRef.Name = "wrong" })
	b.failed(sourcev1.AuthenticationFailedReason, "refuses the App", "401")
	plain := hub.secret(b.git)
	plain["githubAppBaseURL"] = "http://github.example.test"
	b.secret("plain", plain)
	b.change(func(r *sourcev1.GitRepository) { r.Spec.SecretRef.Name = "plain" })
	b.failed(sourcev1.AuthenticationFailedReason, "githubAppBaseURL")
	testenv.CanaryOf(b.git.Token).NotInCluster(t, b.cp)
	testenv.CanaryOf(wrong["githubAppPrivateKey"][40:100]).NotInCluster(t, b.cp,
		b.named("app"), b.named("owner-team"), b.named("owner-someone"), b.named("wrong"), b.named("plain"))
}

func (b *bench) named(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: b.ns, Name: name}
}

// socks is a SOCKS5 proxy that asks for a name and a password (RFC 1928, 1929).
type socks struct {
	net.Listener
	through atomic.Int64
}

func startSOCKS(t *testing.T, username, password string) *socks {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &socks{Listener: l}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				s.serve(c, username, password)
			}()
		}
	}()
	return s
}

func (s *socks) serve(c net.Conn, username, password string) {
	read := func(n int) []byte {
		data := make([]byte, n)
		if _, err := io.ReadFull(c, data); err != nil {
			return make([]byte, n)
		}
		return data
	}
	read(int(read(2)[1]))
	_, _ = c.Write([]byte{5, 2}) // by name and password
	name := string(read(int(read(2)[1])))
	word := string(read(int(read(1)[0])))
	if name != username || word != password {
		_, _ = c.Write([]byte{1, 1})
		return
	}
	_, _ = c.Write([]byte{1, 0})
	var host string
	switch read(4)[3] {
	case 1:
		host = net.IP(read(4)).String()
	case 3:
		host = string(read(int(read(1)[0])))
	default:
		return
	}
	port := read(2)
	out, err := net.Dial("tcp", net.JoinHostPort(host, strconv.Itoa(int(port[0])<<8|int(port[1]))))
	if err != nil {
		return
	}
	defer out.Close()
	s.through.Add(1)
	_, _ = c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	go func() { _, _ = io.Copy(out, c) }()
	_, _ = io.Copy(c, out)
}

// TestSOCKS fetches over https and SSH through a proxy, and not around it.
func TestSOCKS(t *testing.T) {
	canary := testenv.NewCanary(t)
	for _, way := range []string{"https", "ssh"} {
		t.Run(way, func(t *testing.T) {
			b := start(t)
			proxy := startSOCKS(t, "user", canary.Value())
			repo, first := b.repository("public")
			b.secret("proxy", map[string]string{"address": "socks5://" + proxy.Addr().String(), "username": "user", "password": canary.Value()})
			url := repo.URL()
			if way == "ssh" {
				url = repo.SSH()
				b.secret("key", map[string]string{"identity": b.git.Identity, "known_hosts": b.git.KnownHosts})
			}
			b.create(url, func(s *sourcev1.GitRepositorySpec) {
				s.ProxySecretRef = &meta.LocalObjectReference{Name: "proxy"}
				if way == "ssh" {
					s.SecretRef = &meta.LocalObjectReference{Name: "key"}
				}
			})
			b.ready("main@sha1:" + first)
			if proxy.through.Load() == 0 {
				t.Error("nothing went through the proxy")
			}
			b.secret("proxy", map[string]string{"address": "socks5://" + proxy.Addr().String(), "username": "user", "password": "wrong"})
			b.eventually("fails with a wrong password", func(r *sourcev1.GitRepository) bool {
				for _, c := range r.Status.Conditions {
					if c.Type == "Ready" && c.Status == "False" {
						return true
					}
				}
				return false
			})
			canary.NotInCluster(t, b.cp, b.named("proxy"))
		})
	}
}

// TestSubmodules fetches those of the same host, and of no other, and only
// when asked to.
func TestSubmodules(t *testing.T) {
	b := start(t)
	inner, _ := b.repository("public")
	module, commit := b.repository("public/module")
	outer, _ := b.repository("public/outer")
	link := func(url, hash string) string {
		t.Helper()
		text := fmt.Sprintf("[submodule \"m\"]\n\tpath = vendor/m\n\turl = %s\n", url)
		if err := os.WriteFile(filepath.Join(outer.Folder(), ".gitmodules"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		// In one push: a commit without the link would be right, too.
		for _, args := range [][]string{
			{"add", ".gitmodules"},
			{"update-index", "--add", "--cacheinfo", "160000," + hash + ",vendor/m"}, {"commit", "--quiet", "-m", "link"}, {"push", "--quiet", "origin", "HEAD:main"},
		} {
			if _, err := outer.Git(t.Context(), args...); err != nil {
				t.Fatal(err)
			}
		}
		head, err := outer.Git(t.Context(), "rev-parse", "HEAD")
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(head)
	}
	first := link("../../module/"+b.ns+".git", commit)
	b.create(outer.URL(), nil)
	b.ready("main@sha1:" + first)
	if b.has("vendor/m/app/cm.yaml") {
		t.Error("a submodule is there that nobody asked for")
	}
	b.change(func(r *sourcev1.GitRepository) { r.Spec.RecurseSubmodules = true })
	b.eventually("has the submodule", func(r *sourcev1.GitRepository) bool {
		return r.Status.ObservedRecurseSubmodules && b.has("vendor/m/app/cm.yaml") && b.has("app/cm.yaml")
	})
	request := func(at string) {
		b.change(func(r *sourcev1.GitRepository) {
			r.Annotations = map[string]string{meta.ReconcileRequestAnnotation: at}
		})
	}
	for name, c := range map[string]struct{ url, hash, want string }{
		"another host":                {"https://github.com/a/b.git", commit, "credentials are for one host"},
		"a file":                      {"file:///etc", commit, "credentials are for one host"},
		"an option":                   {"--upload-pack=touch /tmp/x", commit, "credentials are for one host"},
		"a commit that is not there":  {module.URL(), strings.Repeat("1", 40), "vendor/m"},
		"no address":                  {"", commit, ".gitmodules"},
		"a repository that is not it": {inner.URL() + "/../../private/none.git", commit, "submodule vendor/m: the server"},
	} {
		t.Run(name, func(t *testing.T) {
			link(c.url, c.hash)
			request(name)
			b.eventually("refused", func(r *sourcev1.GitRepository) bool {
				for _, cond := range r.Status.Conditions {
					if cond.Type == "Ready" && cond.Status == "False" && strings.Contains(cond.Message, c.want) {
						return true
					}
				}
				return false
			})
			if !b.has("vendor/m/app/cm.yaml") {
				t.Error("the last good tree is gone")
			}
		})
	}
}
