package push_test

import (
	"context"
	"fmt"
	"strings"
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
	esv1alpha1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1alpha1"
	genv1 "github.com/lockstep-dev/lockstep/apis/generators/v1alpha1"
	"github.com/lockstep-dev/lockstep/externalsecrets/fanout"
	"github.com/lockstep-dev/lockstep/externalsecrets/generators"
	"github.com/lockstep-dev/lockstep/externalsecrets/push"
	"github.com/lockstep-dev/lockstep/externalsecrets/stores"
	"github.com/lockstep-dev/lockstep/providers"
)

type bench struct {
	client.Client
	t     *testing.T
	ns    string
	vault *vault
}

// start has a store that can be written, and one that cannot.
func start(t *testing.T) *bench {
	t.Helper()
	v := &vault{values: map[providers.Target]string{}}
	b := startWith(t, providers.Registry{
		"example":  func(context.Context, providers.Config) (providers.Reader, error) { return v, nil },
		"readonly": func(context.Context, providers.Config) (providers.Reader, error) { return readOnly{v}, nil },
	})
	b.vault = v
	b.apply("metadata: {name: store, labels: {team: a}}\nspec: {provider: {example: {}}}", &esv1.SecretStore{})
	return b
}

// startWith runs the controllers with the providers of a registry.
func startWith(t *testing.T, registry providers.Registry) *bench {
	t.Helper()
	cp := cluster.Get(t)
	b := &bench{t: t, ns: cp.Namespace(t)}
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, esv1.AddToScheme, esv1alpha1.AddToScheme, genv1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if b.Client, err = client.New(cp.RestConfig(), client.Options{Scheme: s}); err != nil {
		t.Fatal(err)
	}
	skip := true
	mgr, err := ctrl.NewManager(cp.RestConfig(), ctrl.Options{
		Scheme: s, Metrics: metricsserver.Options{BindAddress: "0"}, Controller: config.Controller{SkipNameValidation: &skip},
		Client: client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	open := &stores.Stores{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Metadata: mgr.GetCache(), Class: "default", Registry: registry}
	events := mgr.GetEventRecorderFor("lockstep")
	for _, c := range []interface{ SetupWithManager(ctrl.Manager) error }{
		&push.Controller{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Metadata: mgr.GetCache(), Recorder: events, Stores: open, Makers: &generators.Generators{Reader: mgr.GetClient(), Backends: shortLived()}},
		&fanout.Controller{Client: mgr.GetClient(), Metadata: mgr.GetCache(), Recorder: events},
	} {
		if err := c.SetupWithManager(mgr); err != nil {
			t.Fatal(err)
		}
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

func (b *bench) apply(text string, into client.Object) {
	b.t.Helper()
	if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
		b.t.Fatal(err)
	}
	if into.GetNamespace() == "" && !strings.HasPrefix(into.GetName(), "cluster") {
		into.SetNamespace(b.ns)
	}
	if err := b.Create(b.t.Context(), into); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = b.Delete(context.WithoutCancel(b.t.Context()), into) })
}

func (b *bench) eventually(what string, check func() string) {
	b.t.Helper()
	last := ""
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if last = check(); last == "" {
			return
		}
	}
	b.t.Fatalf("waited for %s; last seen: %s", what, last)
}

// holds waits until the store holds exactly what text says.
func (b *bench) holds(text string) {
	b.t.Helper()
	b.eventually("the store to hold "+text, func() string {
		if got := b.vault.text(); got != text {
			return got
		}
		return ""
	})
}

func (b *bench) ready(name, want string) *esv1alpha1.PushSecret {
	b.t.Helper()
	ps := &esv1alpha1.PushSecret{}
	b.eventually(name+" to be "+want, func() string {
		if err := b.Get(b.t.Context(), client.ObjectKey{Namespace: b.ns, Name: name}, ps); err != nil {
			b.t.Fatal(err)
		}
		c := apimeta.FindStatusCondition(ps.GetConditions(), "Ready")
		if c == nil {
			return "no condition"
		}
		if got := fmt.Sprintf("%s/%s/%s", c.Status, c.Reason, c.Message); !strings.Contains(got, want) {
			return got
		}
		return ""
	})
	return ps
}

func (b *bench) change(o client.Object, name, patch string) {
	b.t.Helper()
	o.SetNamespace(b.ns)
	o.SetName(name)
	if err := b.Patch(b.t.Context(), o, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
		b.t.Fatal(err)
	}
}
