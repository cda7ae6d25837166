package main

import (
	"crypto/subtle"
	"net/http"
	"net/http/cgi"
	"os"
	"path/filepath"
	"strings"

	"github.com/lockstep-dev/lockstep/test/servers/serve"
)

// serveGit hands a request that may be made to git-http-backend.
func (s *server) serveGit(w http.ResponseWriter, r *http.Request) {
	operation, write := service(r)
	if fault := s.control.Begin(r, operation); fault != nil {
		status := fault.Status
		if status == 0 {
			status = http.StatusInternalServerError
		}
		serve.WriteJSON(w, status, map[string]string{"error": fault.Code})
		return
	}
	if !s.known(r) && (write || !strings.HasPrefix(r.URL.Path, "/public/")) {
		w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		http.Error(w, "unauthorized", http.StatusUnauthorized)
		return
	}
	backend := &cgi.Handler{
		Path: filepath.Join(s.execPath, "git-http-backend"),
		Dir:  s.dir,
		Env: []string{
			"GIT_PROJECT_ROOT=" + s.dir, "GIT_HTTP_EXPORT_ALL=1", "PATH=" + os.Getenv("PATH"),
			"GIT_PROTOCOL=" + r.Header.Get("Git-Protocol"), "GIT_CONFIG_NOSYSTEM=1", "HOME=" + s.dir,
		},
	}
	if s.known(r) {
		backend.Env = append(backend.Env, "REMOTE_USER="+user)
	}
	backend.ServeHTTP(w, r)
}

// known reports whether r carries the password or the token.
func (s *server) known(r *http.Request) bool {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return subtle.ConstantTimeCompare([]byte(token), []byte(s.token)) == 1
	}
	name, password, _ := r.BasicAuth()
	if name == "x-access-token" { // as GitHub takes the tokens of its Apps
		return subtle.ConstantTimeCompare([]byte(password), []byte(s.token)) == 1
	}
	return name == user && subtle.ConstantTimeCompare([]byte(password), []byte(s.password)) == 1
}

// service names what is asked for: a listing of the refs, or an exchange of
// objects, to read or to write.
func service(r *http.Request) (operation string, write bool) {
	switch {
	case strings.HasSuffix(r.URL.Path, "/info/refs"):
		name := r.URL.Query().Get("service")
		return "refs " + name, name == "git-receive-pack"
	case strings.HasSuffix(r.URL.Path, "/git-receive-pack"):
		return "git-receive-pack", true
	case strings.HasSuffix(r.URL.Path, "/git-upload-pack"):
		return "git-upload-pack", false
	default:
		return "file", false
	}
}
