package reseal_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	lockstepv1alpha1 "github.com/lockstep-dev/lockstep/apis/lockstep/v1alpha1"
	"github.com/lockstep-dev/lockstep/reconciler/keys"
	"github.com/lockstep-dev/lockstep/reconciler/reseal"
	"github.com/lockstep-dev/lockstep/reconciler/sealedsecret"
	"github.com/lockstep-dev/lockstep/reconciler/source"
	"github.com/lockstep-dev/lockstep/sealer"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// bench is a cluster with keys, SealedSecrets and Reseals, and a repository
// with two SealedSecrets in it.
type bench struct {
	client.Client
	t      *testing.T
	cp     *testenv.ControlPlane
	ns     string // of everything, the controller too
	also   string // another namespace that the controller looks at, if not empty
	ring   *sealer.Keyring
	held   *source.Store // by the sources
	repo   *testenv.Repository
	canary string
}

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, sourcev1.AddToScheme, bitnamiv1alpha1.AddToScheme, lockstepv1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func newBench(t *testing.T) *bench {
	t.Helper()
	cp := cluster.Get(t)
	c, err := client.New(cp.RestConfig(), client.Options{Scheme: scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{Client: c, t: t, cp: cp, ns: cp.Namespace(t), canary: testenv.NewCanary(t).Value(), held: source.NewStore()}
	b.key()
	if b.repo, err = server.Get(t).Repository(t.Context(), "team/"+b.ns+".git"); err != nil {
		t.Fatal(err)
	}
	return b
}

// key makes a sealing key, as lockstep keys rotate does.
func (b *bench) key() string {
	b.t.Helper()
	time.Sleep(1100 * time.Millisecond) // certificates count in seconds
	s, err := keys.NewSecret(keys.Template{Namespace: b.ns, Prefix: "sealed-secrets-key", Size: 2048, TTL: time.Hour})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.Create(b.t.Context(), s); err != nil {
		b.t.Fatal(err)
	}
	k, err := keys.Parse(s)
	if err != nil {
		b.t.Fatal(err)
	}
	return k.Fingerprint
}

// namespaces are those that the controller looks at.
func (b *bench) namespaces() map[string]cache.Config {
	all := map[string]cache.Config{b.ns: {}}
	if b.also != "" {
		all[b.also] = cache.Config{}
	}
	return all
}

// run starts a controller. stop ends it; so does the end of t.
func (b *bench) run() (stop func()) {
	b.t.Helper()
	skip := true
	mgr, err := ctrl.NewManager(b.cp.RestConfig(), ctrl.Options{
		Scheme: scheme(b.t), Metrics: metricsserver.Options{BindAddress: "0"}, Controller: config.Controller{SkipNameValidation: &skip},
		Client: client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
		// What other tests left would count among the users of a key.
		Cache: cache.Options{DefaultNamespaces: b.namespaces()},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.ring = &sealer.Keyring{}
	events := mgr.GetEventRecorderFor("lockstep")
	for _, c := range []interface{ SetupWithManager(ctrl.Manager) error }{
		&keys.Controller{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Ring: b.ring, Namespace: b.ns, Prefix: "sealed-secrets-key", KeySize: 2048, TTL: time.Hour},
		&sealedsecret.Controller{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: events, Keys: b.ring},
		&reseal.Controller{Client: mgr.GetClient(), Secrets: mgr.GetAPIReader(), Recorder: events, Ring: b.ring, Sources: b.held, Namespace: b.ns, AllowHTTPCredentials: true},
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
	eventually(b.t, "the keys", func() bool { return b.ring.Len() > 0 })
	return stop
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// manifest is a SealedSecret of the newest key with one item.
func (b *bench) manifest(name, item string) string {
	b.t.Helper()
	newest, _ := b.ring.Newest()
	sealed, err := sealer.Seal(&newest.Private.PublicKey, []byte(b.canary), sealer.Binding{Namespace: b.ns, Name: name}.Label())
	if err != nil {
		b.t.Fatal(err)
	}
	return fmt.Sprintf("apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret # of %s\nmetadata:\n  name: %s\n  namespace: %s\nspec:\n  encryptedData:\n    %s: \"%s\" # kept\n",
		name, name, b.ns, item, base64.StdEncoding.EncodeToString(sealed))
}

func (b *bench) commit(files map[string]string) string {
	b.t.Helper()
	hash, err := b.repo.Commit(b.t.Context(), "change", files)
	if err != nil {
		b.t.Fatal(err)
	}
	return hash
}

// source makes the GitRepository of the repository.
func (b *bench) source() {
	b.t.Helper()
	git := server.Get(b.t)
	for _, o := range []client.Object{
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "git"}, StringData: map[string]string{"username": git.Username, "password": git.Password}},
		&sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "fleet"}, Spec: sourcev1.GitRepositorySpec{
			URL: b.repo.URL(), Interval: metav1.Duration{Duration: time.Minute}, Reference: &sourcev1.GitRepositoryRef{Branch: "main"},
			SecretRef: ref("git"),
		}},
	} {
		if err := b.Create(b.t.Context(), o); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *bench) reseal(change func(*lockstepv1alpha1.ResealSpec)) {
	b.t.Helper()
	r := &lockstepv1alpha1.Reseal{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "fleet"}, Spec: lockstepv1alpha1.ResealSpec{SourceRef: lockstepv1alpha1.SourceReference{Name: "fleet"}}}
	if change != nil {
		change(&r.Spec)
	}
	if err := b.Create(b.t.Context(), r); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = b.Delete(context.WithoutCancel(b.t.Context()), r) })
}

// status returns the Reseal, and the reason of its Ready condition.
func (b *bench) status() (*lockstepv1alpha1.Reseal, string) {
	b.t.Helper()
	r := &lockstepv1alpha1.Reseal{}
	if err := b.Get(b.t.Context(), client.ObjectKey{Namespace: b.ns, Name: "fleet"}, r); err != nil {
		b.t.Fatal(err)
	}
	ready := apimeta.FindStatusCondition(r.Status.Conditions, "Ready")
	if ready == nil {
		return r, ""
	}
	return r, ready.Reason
}

func (b *bench) until(what string, f func(r *lockstepv1alpha1.Reseal, reason string) bool) *lockstepv1alpha1.Reseal {
	b.t.Helper()
	var r *lockstepv1alpha1.Reseal
	var reason string
	defer func() {
		if b.t.Failed() {
			b.t.Logf("%s: %+v", reason, r.Status)
		}
	}()
	eventually(b.t, what, func() bool {
		r, reason = b.status()
		return f(r, reason)
	})
	return r
}

// git runs git in the clone.
func (b *bench) git(args ...string) string {
	b.t.Helper()
	out, err := b.repo.Git(b.t.Context(), args...)
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// sync does what a Kustomization does: it applies what main holds.
func (b *bench) sync() {
	b.t.Helper()
	b.git("pull", "--quiet", "--rebase", "origin", "main")
	for name := range strings.FieldsSeq(b.git("ls-files", "*.yaml")) {
		for document := range strings.SplitSeq(b.git("show", "HEAD:"+name), "---\n") {
			if strings.TrimSpace(document) == "" {
				continue
			}
			o := &bitnamiv1alpha1.SealedSecret{}
			decode(b.t, document, o)
			if o.Kind != bitnamiv1alpha1.SealedSecretKind {
				continue
			}
			live := o.DeepCopy()
			err := b.Get(b.t.Context(), client.ObjectKeyFromObject(o), live)
			if err == nil {
				live.Spec = o.Spec
				err = b.Update(b.t.Context(), live)
			} else {
				err = b.Create(b.t.Context(), o)
			}
			if err != nil {
				b.t.Fatal(err)
			}
			b.t.Cleanup(func() { _ = b.Delete(context.WithoutCancel(b.t.Context()), o) })
		}
	}
}

// probe opens every SealedSecret of the cluster, and every value at the head of
// main, until it is stopped: at no time may one be unopenable.
func (b *bench) probe() (stop func() int) {
	done, ended := make(chan struct{}), make(chan struct{})
	looks := 0
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
			var all bitnamiv1alpha1.SealedSecretList
			if err := b.List(context.WithoutCancel(b.t.Context()), &all, client.InNamespace(b.ns)); err != nil {
				b.t.Error(err)
				return
			}
			for i := range all.Items {
				for item, value := range all.Items[i].Spec.EncryptedData {
					at := sealer.Place{Binding: sealer.Binding{Namespace: b.ns, Name: all.Items[i].Name}, Item: item}
					if opened, err := b.ring.OpenItem(value, at, ""); err != nil || string(opened.Value) != b.canary {
						b.t.Errorf("%s: %v", at, err)
					}
				}
			}
			looks++
		}
	}()
	return func() int { close(done); <-ended; return looks }
}

// keyOf returns the newest key of the namespace.
func (b *bench) keyOf() (string, *corev1.Secret) {
	b.t.Helper()
	var all corev1.SecretList
	if err := b.List(b.t.Context(), &all, client.InNamespace(b.ns), client.MatchingLabelsSelector{Selector: keys.Selector()}); err != nil {
		b.t.Fatal(err)
	}
	k, err := keys.Parse(&all.Items[0])
	if err != nil {
		b.t.Fatal(err)
	}
	return k.Fingerprint, &all.Items[0]
}

// onlyCiphertexts fails unless the difference of two commits is ciphertexts.
func (b *bench) onlyCiphertexts(from, to string) {
	b.t.Helper()
	for line := range strings.SplitSeq(b.git("diff", "--unified=0", from, to), "\n") {
		if !strings.HasPrefix(line, "+") && !strings.HasPrefix(line, "-") || strings.HasPrefix(line, "+++") || strings.HasPrefix(line, "---") {
			continue
		}
		name, rest, _ := strings.Cut(line[1:], ": \"")
		value, end, _ := strings.Cut(rest, "\"")
		if end != " # kept" || !strings.HasPrefix(name, "    ") || len(value) < 300 {
			b.t.Errorf("the commit changes %q", line)
		}
	}
}
