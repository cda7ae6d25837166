package sealedsecret_test

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/reconciler/keys"
	"github.com/lockstep-dev/lockstep/reconciler/sealedsecret"
	"github.com/lockstep-dev/lockstep/sealer"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

var cluster = testenv.Share(func(t testing.TB) (*testenv.ControlPlane, error) {
	return testenv.StartControlPlane(t.Context(), testenv.Options{CRDs: "../../charts/lockstep/crds"})
})

func TestMain(m *testing.M) { testenv.Main(m) }

// bench is a namespace with its own sealing keys and, once run, a controller
// that sees nothing else.
type bench struct {
	client.Client
	t        *testing.T
	cp       *testenv.ControlPlane
	ns       string
	ring     *sealer.Keyring
	requests *requests
	settings func(c *sealedsecret.Controller) // before it starts; nil changes nothing
}

func newBench(t *testing.T) *bench {
	t.Helper()
	cp := cluster.Get(t)
	c, err := client.New(cp.RestConfig(), client.Options{Scheme: newScheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{Client: c, t: t, cp: cp, ns: cp.Namespace(t)}
	t.Cleanup(func() {
		// No first key is made where SealedSecrets are left of a lost one, in any
		// namespace: the next test's.
		if err := b.DeleteAllOf(context.WithoutCancel(t.Context()), &bitnamiv1alpha1.SealedSecret{}, client.InNamespace(b.ns)); err != nil {
			t.Error(err)
		}
	})
	return b
}

func newScheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, bitnamiv1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return scheme
}

// run starts the controllers, and returns what stops them; so does the end of t.
func (b *bench) run() (stop func()) {
	b.t.Helper()
	b.requests, b.ring = &requests{types: map[string]string{}}, &sealer.Keyring{}
	cfg := b.cp.RestConfig()
	cfg.QPS = -1
	cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper { return b.requests.through(rt) })
	skip := true
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme:     newScheme(b.t),
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: &skip},
		Cache:      cache.Options{DefaultNamespaces: map[string]cache.Config{b.ns: {}}},
		Client:     client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	served := &sealedsecret.Controller{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Keys: b.ring,
		Recorder:  mgr.GetEventRecorderFor("sealed-secrets"),
		Namespace: b.ns, KeyPrefix: "sealed-secrets-key",
	}
	if b.settings != nil {
		b.settings(served)
	}
	for _, c := range []interface{ SetupWithManager(ctrl.Manager) error }{
		&keys.Controller{
			Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Ring: b.ring,
			Namespace: b.ns, Prefix: "sealed-secrets-key", KeySize: 2048, TTL: time.Hour,
		},
		served,
	} {
		if err := c.SetupWithManager(mgr); err != nil {
			b.t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.t.Context()))
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("manager: %v", err)
		}
	})
	b.t.Cleanup(stop)
	return stop
}

// requests are those that the controllers made, without watches. Events are
// apart.
type requests struct {
	mu           sync.Mutex
	made, events []string
	types        map[string]string // of the last body, by request
}

func (r *requests) through(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		path := req.URL.Path
		_, rest, ok := strings.Cut(path, "/namespaces/")
		if ok && req.URL.Query().Get("watch") == "" {
			r.mu.Lock()
			list, made := &r.made, req.Method+" /namespaces/"+rest
			if strings.Contains(path, "/events") {
				list = &r.events
			}
			*list = append(*list, made)
			r.types[made] = req.Header.Get("Content-Type")
			r.mu.Unlock()
		}
		return next.RoundTrip(req)
	})
}

// about returns the requests whose path contains text.
func (r *requests) about(text string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var some []string
	for _, m := range r.made {
		if strings.Contains(m, text) {
			some = append(some, m)
		}
	}
	return some
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// key waits for the sealing key and returns its public half.
func (b *bench) key() *rsa.PublicKey {
	b.t.Helper()
	eventually(b.t, "a sealing key", func() (bool, string) { return b.ring.Len() > 0, "" })
	key, _ := b.ring.Newest()
	return &key.Private.PublicKey
}

// sealed returns a SealedSecret of one item, sealed for at.
func (b *bench) sealed(name string, at sealer.Binding, pub *rsa.PublicKey, value string) *bitnamiv1alpha1.SealedSecret {
	b.t.Helper()
	sealed, err := sealer.Seal(pub, []byte(value), at.Label())
	if err != nil {
		b.t.Fatal(err)
	}
	ss := &bitnamiv1alpha1.SealedSecret{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: name}}
	ss.Spec.EncryptedData = bitnamiv1alpha1.EncryptedData{"password": base64.StdEncoding.EncodeToString(sealed)}
	switch at.Scope {
	case sealer.Strict:
	case sealer.NamespaceWide:
		ss.Annotations = map[string]string{bitnamiv1alpha1.AnnotationNamespaceWide: "true"}
	case sealer.ClusterWide:
		ss.Annotations = map[string]string{bitnamiv1alpha1.AnnotationClusterWide: "true"}
	}
	return ss
}

// texts returns templates, none of which is null.
func texts(of map[string]string) map[string]*string {
	all := map[string]*string{}
	for item, text := range of {
		all[item] = &text
	}
	return all
}

func (b *bench) strict(name string) sealer.Binding {
	return sealer.Binding{Namespace: b.ns, Name: name}
}

func (b *bench) create(o client.Object) {
	b.t.Helper()
	if err := b.Create(b.t.Context(), o); err != nil {
		b.t.Fatal(err)
	}
}

// synced waits until Synced of a SealedSecret is status, for its newest
// generation, and returns the object.
func (b *bench) synced(name, status string) *bitnamiv1alpha1.SealedSecret {
	b.t.Helper()
	ss := &bitnamiv1alpha1.SealedSecret{}
	eventually(b.t, name+" to be Synced="+status, func() (bool, string) {
		if err := b.Get(b.t.Context(), client.ObjectKey{Namespace: b.ns, Name: name}, ss); err != nil {
			b.t.Fatal(err)
		}
		if len(ss.Status.Conditions) == 0 {
			return false, "no conditions"
		}
		c := ss.Status.Conditions[0]
		return c.Type == bitnamiv1alpha1.Synced && string(c.Status) == status && ss.Status.ObservedGeneration == ss.Generation,
			fmt.Sprintf("%s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message)
	})
	return ss
}

// secret returns the Secret of a name.
func (b *bench) secret(name string) *corev1.Secret {
	b.t.Helper()
	s := &corev1.Secret{}
	if err := b.Get(b.t.Context(), client.ObjectKey{Namespace: b.ns, Name: name}, s); err != nil {
		b.t.Fatal(err)
	}
	return s
}

// holds waits until the Secret holds value as its password.
func (b *bench) holds(name, value string) {
	b.t.Helper()
	eventually(b.t, "Secret "+name+" to hold what was sealed", func() (bool, string) {
		s := &corev1.Secret{}
		err := b.Get(b.t.Context(), client.ObjectKey{Namespace: b.ns, Name: name}, s)
		return err == nil && string(s.Data["password"]) == value, fmt.Sprint(err)
	})
}

// events returns "type reason" of the Events about a SealedSecret.
func (b *bench) events(name string) []string {
	b.t.Helper()
	var all corev1.EventList
	if err := b.List(b.t.Context(), &all, client.InNamespace(b.ns)); err != nil {
		b.t.Fatal(err)
	}
	var some []string
	for _, e := range all.Items {
		if e.InvolvedObject.Kind == bitnamiv1alpha1.SealedSecretKind && e.InvolvedObject.Name == name {
			some = append(some, fmt.Sprintf("%s %s x%d", e.Type, e.Reason, e.Count))
		}
	}
	return some
}

// eventually polls until f is true; f says what it saw last.
func eventually(t *testing.T, what string, f func() (ok bool, seen string)) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		ok, seen := f()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s; last seen: %s", what, seen)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// settle gives the controllers the time to do what they should not.
func settle() { time.Sleep(700 * time.Millisecond) }
