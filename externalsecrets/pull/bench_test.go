package pull_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	esv1alpha1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1alpha1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/externalsecrets/generators"
	"github.com/lockstep-dev/lockstep/externalsecrets/pull"
	"github.com/lockstep-dev/lockstep/externalsecrets/stores"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/webhook"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

var cluster = testenv.Share(func(t testing.TB) (*testenv.ControlPlane, error) {
	return testenv.StartControlPlane(t.Context(), testenv.Options{CRDs: "../../charts/lockstep/crds"})
})

// logs is what the controllers say.
var logs struct {
	sync.Mutex
	bytes.Buffer
}

func TestMain(m *testing.M) {
	ctrl.SetLogger(funcr.New(func(prefix, args string) {
		logs.Lock()
		defer logs.Unlock()
		fmt.Fprintln(&logs.Buffer, prefix, args)
		if os.Getenv("LOGS") != "" {
			fmt.Fprintln(os.Stderr, prefix, args)
		}
	}, funcr.Options{}))
	testenv.Main(m)
}

// backend is a service that holds secrets in memory.
type backend struct {
	mu     sync.Mutex
	values map[providers.Ref]string
	errs   map[string]error // by path; "" is for all
	closed error            // that opening fails with
	reads  atomic.Int64
	opens  atomic.Int64
}

func (b *backend) open(context.Context, providers.Config) (providers.Reader, error) {
	b.opens.Add(1)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed != nil {
		return nil, b.closed
	}
	return b, nil
}

// Read implements providers.Reader.
func (b *backend) Read(_ context.Context, ref providers.Ref) (providers.Value, error) {
	b.reads.Add(1)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, path := range []string{"", ref.Path} {
		if err := b.errs[path]; err != nil {
			return providers.Value{}, err
		}
	}
	value, ok := b.values[ref]
	if !ok {
		return providers.Value{}, fmt.Errorf("test backend: %w", providers.ErrNotFound)
	}
	return providers.NewValue([]byte(value)), nil
}

func (b *backend) set(path, value string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.values[providers.Ref{Path: path}] = value
}

func (b *backend) remove(path string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.values, providers.Ref{Path: path})
}

// fail makes reads of a path fail, or with nil succeed again.
func (b *backend) fail(path string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.errs[path] = err
}

func (b *backend) close(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = err
}

// counter counts the requests of the controllers, but for watches, events and
// the lists that fill the caches.
type counter struct {
	writes, reads, tokens atomic.Int64
	next                  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	switch {
	case strings.HasSuffix(r.URL.Path, "/events"):
	case strings.HasSuffix(r.URL.Path, "/token"):
		c.tokens.Add(1)
	case r.Method != http.MethodGet:
		c.writes.Add(1)
	case r.URL.Query().Get("watch") == "" && strings.Contains(r.URL.Path, "/namespaces/"):
		c.reads.Add(1)
	}
	return c.next.RoundTrip(r)
}

// bench is a namespace with a store named "store", and the controllers.
type bench struct {
	client.Client
	t        *testing.T
	cp       *testenv.ControlPlane
	ns       string
	backend  *backend
	makers   providers.Generators
	registry providers.Registry // besides "example" and, if it is not in here, "vault"
	puller   *pull.Controller
	requests *counter
	stop     func()
}

func newBench(t *testing.T) *bench {
	t.Helper()
	cp := cluster.Get(t)
	b := &bench{t: t, cp: cp, ns: cp.Namespace(t), requests: &counter{}, backend: &backend{values: map[providers.Ref]string{}, errs: map[string]error{}}}
	var err error
	if b.Client, err = client.New(cp.RestConfig(), client.Options{Scheme: scheme(t)}); err != nil {
		t.Fatal(err)
	}
	return b
}

func start(t *testing.T) *bench {
	b := newBench(t)
	b.apply("kind: SecretStore\nmetadata: {name: store}\nspec: {provider: {example: {}}}", &esv1.SecretStore{})
	b.run()
	b.eventually("the store to be valid", func() bool {
		s := &esv1.SecretStore{}
		return b.Get(t.Context(), b.key("store"), s) == nil && apimeta.IsStatusConditionTrue(s.GetConditions(), "Ready")
	})
	return b
}

func scheme(t *testing.T) *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, esv1.AddToScheme, esv1alpha1.AddToScheme, genv1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// generators are those of the suite, with the makers of b.
func (b *bench) generators(mgr ctrl.Manager, s *stores.Stores) *generators.Generators {
	return &generators.Generators{Reader: mgr.GetClient(), References: s.References, Class: "default", Backends: b.makers,
		Registry: providers.Registry{esv1.ProviderWebhook: webhook.Open}}
}

// run starts the controllers. They see only the namespace of b.
func (b *bench) run() {
	b.t.Helper()
	cfg := b.cp.RestConfig()
	cfg.QPS = -1
	cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper { b.requests.next = rt; return b.requests })
	skip := true
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme:     scheme(b.t),
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: &skip},
		Client:     client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}}}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	s := &stores.Stores{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Metadata: mgr.GetCache(), Registry: providers.Registry{"example": b.backend.open, esv1.ProviderVault: b.backend.guarded}, Class: "default"}
	maps.Copy(s.Registry, b.registry)
	recorder := mgr.GetEventRecorderFor("lockstep")
	b.puller = &pull.Controller{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Metadata: mgr.GetCache(), Recorder: recorder, Stores: s, Makers: b.generators(mgr, s), Namespace: b.ns}
	for _, c := range []interface{ SetupWithManager(ctrl.Manager) error }{&stores.Controller{Client: mgr.GetClient(), Recorder: recorder, Stores: s}, b.puller} {
		if err := c.SetupWithManager(mgr); err != nil {
			b.t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.t.Context()))
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("manager: %v", err)
		}
	})
	b.t.Cleanup(b.stop)
	b.eventually("the key of fingerprints", func() bool {
		return b.Get(ctx, b.key("lockstep-fingerprint-key"), &corev1.Secret{}) == nil
	})
}

func (b *bench) key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: b.ns, Name: name}
}

// apply creates the object that text describes, in the namespace of b.
func (b *bench) apply(text string, into client.Object) {
	b.t.Helper()
	if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
		b.t.Fatal(err)
	}
	if _, cluster := into.(*esv1.ClusterSecretStore); !cluster {
		into.SetNamespace(b.ns)
	}
	if err := b.Create(b.t.Context(), into); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := b.Delete(context.WithoutCancel(b.t.Context()), into); client.IgnoreNotFound(err) != nil {
			b.t.Errorf("delete: %v", err)
		}
	})
}

// external creates an ExternalSecret "name" that reads "store".
func (b *bench) external(name, spec string) {
	b.t.Helper()
	b.whole(name, "secretStoreRef: {name: store}\n"+spec)
}

// whole creates an ExternalSecret with exactly this spec.
func (b *bench) whole(name, spec string) {
	b.t.Helper()
	b.apply("metadata: {name: "+name+"}\nspec:\n"+indent(spec), &esv1.ExternalSecret{})
}

// in is b for a test within that of b.
func (b *bench) in(t *testing.T) *bench {
	inner := *b
	inner.t = t
	return &inner
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ") + "\n"
}

// change patches an ExternalSecret.
func (b *bench) change(name string, f func(*esv1.ExternalSecret)) {
	b.t.Helper()
	es := &esv1.ExternalSecret{}
	if err := b.Get(b.t.Context(), b.key(name), es); err != nil {
		b.t.Fatal(err)
	}
	before := es.DeepCopy()
	f(es)
	if err := b.Patch(b.t.Context(), es, client.MergeFrom(before)); err != nil {
		b.t.Fatal(err)
	}
}

// ready waits until Ready is STATUS/REASON/MESSAGE, of which want is a prefix,
// for the newest generation.
func (b *bench) ready(name, want string) *esv1.ExternalSecret {
	b.t.Helper()
	es, last := &esv1.ExternalSecret{}, ""
	b.eventually(name+" to be "+want, func() bool {
		if err := b.Get(b.t.Context(), b.key(name), es); err != nil {
			b.t.Fatal(err)
		}
		c := apimeta.FindStatusCondition(es.GetConditions(), "Ready")
		if c == nil || es.Status.ObservedGeneration != es.Generation {
			return false
		}
		last = string(c.Status) + "/" + c.Reason + "/" + c.Message
		return strings.HasPrefix(last, want)
	}, &last)
	return es
}

// data is what a Secret holds; nil if there is none.
func (b *bench) data(name string) map[string]string {
	b.t.Helper()
	secret := &corev1.Secret{}
	if err := b.Get(b.t.Context(), b.key(name), secret); err != nil {
		if client.IgnoreNotFound(err) != nil {
			b.t.Fatal(err)
		}
		return nil
	}
	out := map[string]string{}
	for k, v := range secret.Data {
		out[k] = string(v)
	}
	return out
}

func (b *bench) secret(name string) *corev1.Secret {
	b.t.Helper()
	secret := &corev1.Secret{}
	if err := b.Get(b.t.Context(), b.key(name), secret); err != nil {
		b.t.Fatal(err)
	}
	return secret
}

// holds waits until a Secret holds exactly what text says, as JSON.
func (b *bench) holds(name, text string) {
	b.t.Helper()
	last := ""
	b.eventually("Secret "+name+" to hold what it should", func() bool {
		got, err := json.Marshal(b.data(name))
		if err != nil {
			b.t.Fatal(err)
		}
		last = string(got)
		return last == text
	}, &last)
}

func (b *bench) eventually(what string, check func() bool, last ...*string) {
	b.t.Helper()
	const timeout = 10 * time.Second
	for deadline := time.Now().Add(timeout); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if check() {
			return
		}
	}
	seen := ""
	if len(last) > 0 {
		seen = "; last seen: " + *last[0]
	}
	b.t.Fatalf("waited %s for %s%s", timeout, what, seen)
}

func (b *bench) warnings(name string) int {
	b.t.Helper()
	var list corev1.EventList
	if err := b.List(b.t.Context(), &list, client.InNamespace(b.ns)); err != nil {
		b.t.Fatal(err)
	}
	n := 0
	for _, e := range list.Items {
		if e.InvolvedObject.Name == name && e.Type == corev1.EventTypeWarning {
			n += int(max(e.Count, 1))
		}
	}
	return n
}
