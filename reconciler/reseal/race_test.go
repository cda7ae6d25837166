package reseal_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	lockstepv1alpha1 "github.com/lockstep-dev/lockstep/apis/lockstep/v1alpha1"
)

// through has the GitRepository go through a proxy that calls before right
// before the first push reaches the server; with an answer of its own, that is
// all that the push gets.
func (b *bench) through(before func() (status int)) {
	b.t.Helper()
	target, err := url.Parse(b.repo.URL())
	if err != nil {
		b.t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: target.Scheme, Host: target.Host})
	}}
	var once sync.Once
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := 0
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/git-receive-pack") {
			once.Do(func() { status = before() })
		}
		if status != 0 {
			w.WriteHeader(status)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	b.t.Cleanup(proxy.Close)
	g := &sourcev1.GitRepository{}
	if err := b.Get(b.t.Context(), client.ObjectKey{Namespace: b.ns, Name: "fleet"}, g); err != nil {
		b.t.Fatal(err)
	}
	g.Spec.URL = proxy.URL + target.Path
	if err := b.Update(b.t.Context(), g); err != nil {
		b.t.Fatal(err)
	}
}

// Someone pushes between our look and our push: the work is done again on their
// commit, at once, and nothing of it is lost.
func TestPushRaced(t *testing.T) {
	b := newBench(t)
	b.run()
	b.commit(map[string]string{"a.yaml": b.manifest("a", "password")})
	b.sync()
	b.source()
	theirs := ""
	b.through(func() int {
		theirs = b.commit(map[string]string{"b.yaml": "kind: ConfigMap\n", "c.yaml": b.manifest("c", "password")})
		return 0
	})
	stop := b.probe()
	newest := b.key()
	eventually(t, "both keys", func() bool { return b.ring.Len() == 2 })
	b.reseal(nil)
	r := b.until("the commit", func(r *lockstepv1alpha1.Reseal, _ string) bool {
		return r.Status.Commit != nil && r.Status.Key == newest
	})
	stop()
	if theirs == "" || r.Status.Commit.Base != theirs || r.Status.Items != 2 {
		t.Errorf("the commit is on %s with %d values, want %s and 2", r.Status.Commit.Base, r.Status.Items, theirs)
	}
	b.git("fetch", "--quiet", "origin", "main")
	if n := b.git("rev-list", "--count", theirs+"..origin/main"); n != "1" {
		t.Errorf("%s commits were made on theirs, want one", n)
	}
	if b.git("show", "origin/main:b.yaml") != "kind: ConfigMap" {
		t.Error("their file is not what it was")
	}
}

// A push that fails half way, at the server, is made again, and the branch
// holds one commit.
func TestPushFails(t *testing.T) {
	b := newBench(t)
	b.run()
	before := b.commit(map[string]string{"a.yaml": b.manifest("a", "password")})
	b.sync()
	b.source()
	b.through(func() int { return http.StatusBadGateway })
	b.key()
	eventually(t, "both keys", func() bool { return b.ring.Len() == 2 })
	b.reseal(nil)
	b.until("the commit", func(r *lockstepv1alpha1.Reseal, _ string) bool { return r.Status.Commit != nil })
	b.git("fetch", "--quiet", "origin", "main")
	if n := b.git("rev-list", "--count", before+"..origin/main"); n != "1" {
		t.Errorf("%s commits were made, want one", n)
	}
}
