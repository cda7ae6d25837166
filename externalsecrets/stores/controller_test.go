package stores_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

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
	"github.com/lockstep-dev/lockstep/externalsecrets/stores"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

var cluster = testenv.Share(func(t testing.TB) (*testenv.ControlPlane, error) {
	return testenv.StartControlPlane(t.Context(), testenv.Options{CRDs: "../../charts/lockstep/crds"})
})

func TestMain(m *testing.M) { testenv.Main(m) }

// vault is a backend that reads all that its store refers to, as a real one
// does, and gives it back.
type vault struct {
	mu     sync.Mutex
	opened []string // the token of each opening
	err    error
}

type opened struct{ token string }

// Read implements providers.Reader.
func (o opened) Read(context.Context, providers.Ref) (providers.Value, error) {
	return providers.NewValue([]byte(o.token)), nil
}

func (v *vault) open(ctx context.Context, c providers.Config) (providers.Reader, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err != nil {
		return nil, v.err
	}
	p, got := c.Provider.Vault, ""
	if p.CAProvider != nil {
		ca, err := c.References.CA(ctx, *p.CAProvider)
		if err != nil {
			return nil, err
		}
		got += string(ca) + ";"
	}
	if ref := p.Auth.TokenSecretRef; ref != nil {
		token, err := c.References.Secret(ctx, *ref)
		if err != nil {
			return nil, err
		}
		got += string(token.Bytes())
	}
	if k := p.Auth.Kubernetes; k != nil {
		token, until, err := c.References.Token(ctx, *k.ServiceAccountRef, k.ServiceAccountRef.Audiences, 0)
		if err != nil {
			return nil, err
		}
		annotations, err := c.References.Annotations(ctx, *k.ServiceAccountRef)
		if err != nil {
			return nil, err
		}
		if len(token.Bytes()) == 0 || time.Until(until) < time.Minute {
			return nil, errors.New("no token")
		}
		got += annotations["role"]
	}
	v.opened = append(v.opened, got)
	return opened{got}, nil
}

func (v *vault) openings() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.opened)
}

func (v *vault) fail(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.err = err
}

type bench struct {
	client.Client
	t         *testing.T
	cp        *testenv.ControlPlane
	ns, other string
	vault     *vault
	stores    *stores.Stores
}

func start(t *testing.T) *bench {
	t.Helper()
	v := &vault{}
	b := startWith(t, providers.Registry{"vault": v.open})
	b.vault = v
	return b
}

// startWith is start with other backends.
func startWith(t *testing.T, registry providers.Registry) *bench {
	t.Helper()
	cp := cluster.Get(t)
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, esv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.New(cp.RestConfig(), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	skip := true
	mgr, err := ctrl.NewManager(cp.RestConfig(), ctrl.Options{
		Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"}, Controller: config.Controller{SkipNameValidation: &skip},
		Client: client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{Client: c, t: t, cp: cp, ns: cp.Namespace(t), other: cp.Namespace(t)}
	b.stores = &stores.Stores{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Metadata: mgr.GetCache(), Registry: registry, Class: "default"}
	if err := (&stores.Controller{Client: mgr.GetClient(), Recorder: mgr.GetEventRecorderFor("lockstep"), Stores: b.stores}).SetupWithManager(mgr); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("manager: %v", err)
		}
	})
	return b
}

// placeholder is NS or OTHER as a word, and not by chance within base64.
var placeholder = regexp.MustCompile(`(^|[^A-Za-z0-9+/=])(NS|OTHER)\b`)

// apply creates an object; NS and OTHER in text stand for the namespaces.
func (b *bench) apply(text string, into client.Object) {
	b.t.Helper()
	text = placeholder.ReplaceAllStringFunc(text, func(found string) string {
		return strings.NewReplacer("OTHER", b.other, "NS", b.ns).Replace(found)
	})
	if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
		b.t.Fatal(err)
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

// status waits until a store's Ready is STATUS/REASON/MESSAGE, of which want is
// a prefix.
func (b *bench) status(store esv1.GenericStore, want string) string {
	b.t.Helper()
	obj, last := store.(client.Object), ""
	eventually(b.t, store.GetName()+" to be "+want, &last, func() bool {
		if err := b.Get(b.t.Context(), client.ObjectKeyFromObject(obj), obj); err != nil {
			b.t.Fatal(err)
		}
		c := apimeta.FindStatusCondition(store.GetConditions(), "Ready")
		if c == nil || store.StoreStatus().ObservedGeneration != store.GetGeneration() {
			return false
		}
		last = string(c.Status) + "/" + c.Reason + "/" + c.Message
		return strings.HasPrefix(last, want)
	})
	return last
}

func eventually(t *testing.T, what string, last *string, check func() bool) {
	t.Helper()
	const timeout = 10 * time.Second
	for deadline := time.Now().Add(timeout); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if check() {
			return
		}
	}
	t.Fatalf("waited %s for %s; last seen: %s", timeout, what, *last)
}

// read returns what a store gives to a namespace.
func (b *bench) read(kind, namespace, name string) (string, error) {
	reader, err := b.stores.Get(b.t.Context(), kind, namespace, name)
	if err != nil {
		return "", err
	}
	value, err := reader.Read(b.t.Context(), providers.Ref{})
	return string(value.Bytes()), err
}

func TestSecretStore(t *testing.T) {
	b := start(t)
	canary := testenv.NewCanary(t)
	store := &esv1.SecretStore{}
	b.apply("metadata: {name: s, namespace: NS}\nspec: {provider: {vault: {server: 'https://v', auth: {tokenSecretRef: {name: token, key: t}}}}}", store)
	if got := b.status(store, "False/InvalidProviderConfig/"); !strings.Contains(got, "spec.provider.vault.auth.tokenSecretRef") || !strings.Contains(got, "Secret "+b.ns+"/token does not exist") {
		t.Errorf("condition: %s", got)
	}
	token := &corev1.Secret{}
	b.apply("metadata: {name: token, namespace: NS}\nstringData: {t: "+canary.Value()+"}", token)
	b.status(store, "True/Valid/store validated")
	if store.Status.Capabilities != esv1.CapabilityReadOnly {
		t.Errorf("capabilities: got %q", store.Status.Capabilities)
	}

	t.Run("StaysOpen", func(t *testing.T) {
		before := b.vault.openings()
		for range 10 {
			if got, err := b.read("SecretStore", b.ns, "s"); err != nil || got != canary.Value() {
				t.Fatalf("read: %v", err)
			}
		}
		if got := b.vault.openings() - before; got != 0 {
			t.Errorf("10 reads opened the store %d times, want none: it is open", got)
		}
	})
	t.Run("NewToken", func(t *testing.T) {
		token.Data = map[string][]byte{"t": []byte("second")}
		if err := b.Update(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		last := ""
		eventually(t, "the new token to be used", &last, func() bool {
			got, err := b.read("SecretStore", b.ns, "s")
			last = fmt.Sprint(err)
			return got == "second"
		})
	})
	t.Run("Denied", func(t *testing.T) {
		b.vault.fail(fmt.Errorf("login: %w", providers.ErrDenied))
		store.Spec.Provider.Vault.Server = "https://w"
		if err := b.Update(t.Context(), store); err != nil {
			t.Fatal(err)
		}
		b.status(store, "False/ValidationFailed/")
		b.vault.fail(fmt.Errorf("sealed: %w", providers.ErrUnavailable))
		store.Spec.Provider.Vault.Server = "https://x"
		if err := b.Update(t.Context(), store); err != nil {
			t.Fatal(err)
		}
		b.status(store, "False/ValidationFailed/sealed")
		b.vault.fail(nil)
		b.status(store, "True/Valid")
	})
	t.Run("Gone", func(t *testing.T) {
		if _, err := b.read("SecretStore", b.other, "s"); !errors.Is(err, stores.ErrNoStore) {
			t.Errorf("a store of another namespace: got %v, want ErrNoStore", err)
		}
	})
	canary.NotInCluster(t, b.cp, client.ObjectKeyFromObject(token))
}

func TestSecretStoreStaysInItsNamespace(t *testing.T) {
	b := start(t)
	b.apply("metadata: {name: theirs, namespace: OTHER}\nstringData: {t: x}", &corev1.Secret{})
	for name, provider := range map[string]string{
		"secret":  "auth: {tokenSecretRef: {name: theirs, key: t, namespace: OTHER}}",
		"ca":      "caProvider: {type: Secret, name: theirs, key: t, namespace: OTHER}",
		"account": "auth: {kubernetes: {mountPath: k, role: r, serviceAccountRef: {name: default, namespace: OTHER, audiences: [vault]}}}",
	} {
		store := &esv1.SecretStore{}
		b.apply("metadata: {name: "+name+", namespace: NS}\nspec: {provider: {vault: {server: 'https://v', "+provider+"}}}", store)
		if got := b.status(store, "False/InvalidStoreConfiguration/"); !strings.Contains(got, "is not that of the SecretStore") {
			t.Errorf("%s: %s", name, got)
		}
		if _, err := b.read("SecretStore", b.ns, name); !errors.Is(err, providers.ErrInvalid) {
			t.Errorf("%s: read: got %v, want ErrInvalid", name, err)
		}
	}
	if n := b.vault.openings(); n != 0 {
		t.Errorf("%d stores were opened, want none", n)
	}
}

func TestClusterSecretStore(t *testing.T) {
	b := start(t)
	b.apply("metadata: {name: token, namespace: NS}\nstringData: {t: here}", &corev1.Secret{})
	b.apply("metadata: {name: token, namespace: OTHER}\nstringData: {t: there}", &corev1.Secret{})
	b.apply("metadata: {name: ca, namespace: OTHER}\ndata: {c: pem}", &corev1.ConfigMap{})

	t.Run("NamedNamespace", func(t *testing.T) {
		store := &esv1.ClusterSecretStore{}
		b.apply(`
metadata: {name: NS-named}
spec:
  conditions: [{namespaces: [NS, other-one]}, {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: also-not-there}}}]
  provider: {vault: {server: 'https://v', caProvider: {type: ConfigMap, name: ca, namespace: OTHER, key: c}, auth: {tokenSecretRef: {name: token, key: t, namespace: OTHER}}}}`, store)
		b.status(store, "True/Valid")
		before := b.vault.openings()
		if got, err := b.read("ClusterSecretStore", b.ns, store.Name); got != "pem;there" || err != nil {
			t.Errorf("read: got %q, %v", got, err)
		}
		if b.vault.openings() != before {
			t.Error("the store was opened again for a namespace")
		}
		if _, err := b.read("ClusterSecretStore", b.other, store.Name); !errors.Is(err, stores.ErrNotAdmitted) {
			t.Errorf("a namespace that the conditions leave out: got %v, want ErrNotAdmitted", err)
		}
	})
	t.Run("Referent", func(t *testing.T) {
		store := &esv1.ClusterSecretStore{}
		b.apply("metadata: {name: NS-referent}\nspec: {provider: {vault: {server: 'https://v', auth: {tokenSecretRef: {name: token, key: t}}}}}", store)
		b.status(store, "True/ValidationUnknown/")
		for namespace, want := range map[string]string{b.ns: "here", b.other: "there"} {
			if got, err := b.read("ClusterSecretStore", namespace, store.Name); got != want || err != nil {
				t.Errorf("read from %s: got %q, %v, want %q", namespace, got, err, want)
			}
		}
	})
	t.Run("Token", func(t *testing.T) {
		store := &esv1.ClusterSecretStore{}
		b.apply("metadata: {name: sa, namespace: OTHER, annotations: {role: reader}}", &corev1.ServiceAccount{})
		b.apply("metadata: {name: NS-token}\nspec: {provider: {vault: {server: 'https://v', auth: {kubernetes: {mountPath: k, role: r, serviceAccountRef: {name: sa, namespace: OTHER, audiences: [vault]}}}}}}", store)
		b.status(store, "True/Valid")
		if got, err := b.read("ClusterSecretStore", b.ns, store.Name); got != "reader" || err != nil {
			t.Errorf("read: got %q, %v", got, err)
		}
	})
	t.Run("TokenWithoutAudience", func(t *testing.T) {
		store := &esv1.ClusterSecretStore{}
		b.apply("metadata: {name: NS-no-audience}\nspec: {provider: {vault: {server: 'https://v', auth: {kubernetes: {mountPath: k, role: r, serviceAccountRef: {name: sa, namespace: OTHER}}}}}}", store)
		if got := b.status(store, "False/InvalidStoreConfiguration/"); !strings.Contains(got, "audience") {
			t.Errorf("condition: %s", got)
		}
	})
}

func TestRefusedStores(t *testing.T) {
	b := start(t)
	for name, tc := range map[string]struct{ spec, want string }{
		"unknown":    {"provider: {ibm: {}}", "False/InvalidStoreConfiguration/spec.provider"},
		"retry":      {"retrySettings: {maxRetries: -3}, provider: {vault: {server: 'https://v'}}", "False/InvalidStoreConfiguration/spec.retrySettings"},
		"conditions": {"conditions: [{namespaces: [a]}], provider: {vault: {server: 'https://v'}}", "False/InvalidStoreConfiguration/spec.conditions"},
	} {
		store := &esv1.SecretStore{}
		b.apply("metadata: {name: "+name+", namespace: NS}\nspec: {"+tc.spec+"}", store)
		b.status(store, tc.want)
		if _, err := b.read("SecretStore", b.ns, name); !errors.Is(err, providers.ErrInvalid) {
			t.Errorf("%s: read: got %v, want ErrInvalid", name, err)
		}
	}
	t.Run("OtherClass", func(t *testing.T) {
		store := &esv1.SecretStore{}
		b.apply("metadata: {name: theirs, namespace: NS}\nspec: {controller: other, provider: {vault: {server: 'https://v'}}}", store)
		if _, err := b.read("SecretStore", b.ns, "theirs"); !errors.Is(err, stores.ErrOtherClass) && !errors.Is(err, stores.ErrNoStore) {
			t.Errorf("read: got %v, want ErrOtherClass", err)
		}
		time.Sleep(300 * time.Millisecond)
		if err := b.Get(t.Context(), client.ObjectKeyFromObject(store), store); err != nil || len(store.Status.Conditions) != 0 {
			t.Errorf("a store of another controller: %v, %v, want it left alone", err, store.Status)
		}
	})
}
