package events_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/externalsecrets/events"
	"github.com/lockstep-dev/lockstep/externalsecrets/generators"
	"github.com/lockstep-dev/lockstep/externalsecrets/pull"
	"github.com/lockstep-dev/lockstep/externalsecrets/stores"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

var cluster = testenv.Share(func(t testing.TB) (*testenv.ControlPlane, error) {
	return testenv.StartControlPlane(t.Context(), testenv.Options{CRDs: "../../charts/lockstep/crds"})
})

func TestMain(m *testing.M) { testenv.Main(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// bench is a namespace with the controllers that events need.
type bench struct {
	client.Client
	t    *testing.T
	ns   string
	addr string // of webhooks
}

func start(t *testing.T, registry providers.Registry) *bench {
	t.Helper()
	cp := cluster.Get(t)
	b := &bench{t: t, ns: cp.Namespace(t), addr: freePort(t)}
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, esv1.AddToScheme, genv1.AddToScheme} {
		must(t, add(s))
	}
	var err error
	b.Client, err = client.New(cp.RestConfig(), client.Options{Scheme: s})
	must(t, err)
	mgr, err := ctrl.NewManager(cp.RestConfig(), ctrl.Options{
		Scheme: s, Metrics: metricsserver.Options{BindAddress: "0"}, Controller: config.Controller{SkipNameValidation: new(true)},
		Client: client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}}}},
	})
	must(t, err)
	c, reader := mgr.GetClient(), mgr.GetAPIReader()
	open := &stores.Stores{Client: c, Reader: reader, Metadata: mgr.GetCache(), Class: "default", Registry: registry}
	recorder := mgr.GetEventRecorderFor("lockstep")
	puller := &pull.Controller{Client: c, Reader: reader, Metadata: mgr.GetCache(), Recorder: recorder, Stores: open, Makers: &generators.Generators{Reader: c}, Namespace: b.ns}
	due := func(ctx context.Context, store events.Store, keys []string) {
		puller.Due(ctx, store.Kind(), store.Namespace, store.Name, keys)
	}
	for _, r := range []interface{ SetupWithManager(ctrl.Manager) error }{
		&stores.Controller{Client: c, Recorder: recorder, Stores: open}, puller,
		&events.Controller{Client: c, Reader: reader, Recorder: recorder, Open: open.Open, Due: due, Addr: b.addr},
	} {
		must(t, r.SetupWithManager(mgr))
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-done)
	})
	return b
}

// freePort is an address that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

// create makes an object until the test ends.
func (b *bench) create(o client.Object) {
	b.t.Helper()
	o.SetNamespace(b.ns)
	must(b.t, b.Create(b.t.Context(), o))
	b.t.Cleanup(func() { _ = b.Delete(context.WithoutCancel(b.t.Context()), o) }) // the namespace goes, too
}

// store makes a SecretStore "store" with a Secret "in" that it refers to.
func (b *bench) store(provider map[string]any, credentials, annotations map[string]string) {
	b.t.Helper()
	b.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "in"}, StringData: credentials})
	text, err := json.Marshal(provider)
	must(b.t, err)
	s := &esv1.SecretStore{ObjectMeta: metav1.ObjectMeta{Name: "store", Annotations: annotations}}
	must(b.t, json.Unmarshal(text, &s.Spec.Provider))
	b.create(s)
}

// external makes an ExternalSecret that reads a key as a whole.
func (b *bench) external(name, key string, every time.Duration) {
	b.t.Helper()
	es := &esv1.ExternalSecret{ObjectMeta: metav1.ObjectMeta{Name: name}}
	es.Spec.SecretStoreRef = esv1.SecretStoreRef{Name: "store", Kind: esv1.SecretStoreKind}
	es.Spec.RefreshInterval = &metav1.Duration{Duration: every}
	es.Spec.Data = []esv1.ExternalSecretData{{SecretKey: "value", RemoteRef: esv1.RemoteRef{Key: key}}}
	b.create(es)
}

// holds waits until a Secret holds a value, and returns it.
func (b *bench) holds(name, value string) *corev1.Secret {
	b.t.Helper()
	secret := &corev1.Secret{}
	b.eventually("Secret "+name+" to hold what it should", func() string {
		if err := b.Get(b.t.Context(), client.ObjectKey{Namespace: b.ns, Name: name}, secret); err != nil {
			es := &esv1.ExternalSecret{}
			return fmt.Sprint(err, b.Get(b.t.Context(), client.ObjectKey{Namespace: b.ns, Name: name}, es), apimeta.FindStatusCondition(es.GetConditions(), "Ready"))
		}
		if string(secret.Data["value"]) != value {
			return "another value"
		}
		return ""
	})
	return secret
}

// told reports whether the store has an Event that it cannot be listened to.
func (b *bench) told() bool {
	b.t.Helper()
	var list corev1.EventList
	must(b.t, b.List(b.t.Context(), &list, client.InNamespace(b.ns)))
	return slices.ContainsFunc(list.Items, func(e corev1.Event) bool {
		return e.Reason == "EventsFailed" && e.Type == corev1.EventTypeWarning && e.InvolvedObject.Name == "store"
	})
}

func (b *bench) eventually(what string, check func() string) {
	b.t.Helper()
	last := ""
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if last = check(); last == "" {
			return
		}
	}
	b.t.Fatalf("waited for %s; last seen: %s", what, last)
}
