package external_test

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/reconciler/source"
	"github.com/lockstep-dev/lockstep/reconciler/source/external"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

var cluster = testenv.Share(func(t testing.TB) (*testenv.ControlPlane, error) {
	return testenv.StartControlPlane(t.Context(), testenv.Options{CRDs: "../../../charts/lockstep/crds"})
})

func TestMain(m *testing.M) { testenv.Main(m) }

// publisher serves archives, and counts how often it is asked.
type publisher struct {
	*httptest.Server
	content atomic.Pointer[[]byte]
	asked   atomic.Int64
}

func publish(t *testing.T) *publisher {
	t.Helper()
	p := &publisher{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.asked.Add(1)
		switch {
		case strings.HasPrefix(r.URL.Path, "/redirect"):
			http.Redirect(w, r, "/artifact.tar.gz", http.StatusFound)
		case p.content.Load() == nil:
			http.NotFound(w, r)
		default:
			_, _ = w.Write(*p.content.Load())
		}
	}))
	t.Cleanup(p.Close)
	return p
}

// archive makes p serve a file, and returns the digest.
func (p *publisher) archive(t *testing.T, name, content string) string {
	t.Helper()
	data := testenv.Archive(t, map[string]string{name: content})
	p.content.Store(&data)
	return fmt.Sprintf("sha256:%x", sha256.Sum256(data))
}

func TestExternalArtifact(t *testing.T) {
	cp := cluster.Get(t)
	ns, store := cp.Namespace(t), source.NewStore()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, sourcev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	testenv.StartManager(t, cp, scheme, func(mgr ctrl.Manager) error {
		deps := source.Deps{Client: mgr.GetClient(), Recorder: mgr.GetEventRecorderFor("lockstep"), Store: store}
		return (&external.Controller{Deps: deps}).SetupWithManager(mgr)
	})
	c, err := client.New(cp.RestConfig(), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	a := &sourcev1.ExternalArtifact{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "made"}}
	if err := c.Create(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	p := publish(t)
	say := func(url, revision, digest string) {
		t.Helper()
		before := a.DeepCopy()
		a.Status.Artifact = &meta.Artifact{Path: "x", URL: url, Revision: revision, Digest: digest, LastUpdateTime: metav1.Now(), Metadata: map[string]string{"org.opencontainers.image.revision": "origin"}}
		if err := c.Status().Patch(t.Context(), a, client.MergeFrom(before)); err != nil {
			t.Fatal(err)
		}
	}
	holds := func(revision, content string) {
		t.Helper()
		eventually(t, "holds "+revision, func() bool {
			s, ok := store.Get(sourcev1.ExternalArtifactKind, ns, "made")
			if !ok || s.Revision != revision {
				return false
			}
			data, err := s.Tree.ReadFile("cm.yaml")
			return err == nil && string(data) == content && s.Origin == "origin"
		})
	}
	url := p.URL + "/artifact.tar.gz"
	first := p.archive(t, "cm.yaml", "a: 1")
	say(url, "v1", first)
	holds("v1", "a: 1")
	asked := p.asked.Load()
	second := p.archive(t, "cm.yaml", "a: 2")
	say(url, "v2", second)
	holds("v2", "a: 2")
	if n := p.asked.Load() - asked; n != 1 {
		t.Errorf("%d downloads of one revision", n)
	}
	for name, f := range map[string]struct{ url, digest, want string }{
		"another content":      {url, first, "digest"},
		"a digest of MD5":      {url, "md5:" + strings.Repeat("0", 32), "sha256"},
		"a short digest":       {url, "sha256:00", "64 digits"},
		"an address of a file": {"file:///etc/passwd", second, "status.artifact.url"},
		"a metadata service":   {"http://169.254.169.254/x", second, "refused"},
		"the same in IPv6":     {"http://[::ffff:169.254.169.254]/x", second, "refused"},
		"a redirect":           {p.URL + "/redirect", second, "302"},
	} {
		t.Run(name, func(t *testing.T) {
			say(f.url, "bad", f.digest)
			eventually(t, "fails by "+f.want, func() bool {
				return strings.Contains(store.Why(sourcev1.ExternalArtifactKind, ns, "made"), f.want)
			})
			holds("v2", "a: 2")
			say(url, "v2", second)
		})
	}
	if err := c.Delete(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	eventually(t, "is forgotten", func() bool {
		_, ok := store.Get(sourcev1.ExternalArtifactKind, ns, "made")
		return !ok
	})
}

func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !check(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not so after 30 s", what)
		}
	}
}
