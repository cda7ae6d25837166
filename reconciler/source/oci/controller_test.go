package oci_test

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/reconciler/source"
	"github.com/lockstep-dev/lockstep/reconciler/source/oci"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

var cluster = testenv.Share(func(t testing.TB) (*testenv.ControlPlane, error) {
	return testenv.StartControlPlane(t.Context(), testenv.Options{CRDs: "../../../charts/lockstep/crds"})
})

func TestMain(m *testing.M) { testenv.Main(m) }

// layerType is that of Flux's artifacts.
const layerType = "application/vnd.cncf.flux.content.v1.tar+gzip"

// bench is a running controller, a registry, and what a test needs to talk to
// them.
type bench struct {
	client.Client
	t        *testing.T
	cp       *testenv.ControlPlane
	ns       string
	registry *testenv.Registry
	store    *source.Store
	manager  *testenv.Manager

	controller oci.Options
}

func start(t *testing.T) *bench {
	t.Helper()
	return startWith(t, oci.Options{})
}

func startWith(t *testing.T, options oci.Options) *bench {
	t.Helper()
	b := &bench{t: t, controller: options, cp: cluster.Get(t), registry: testenv.StartRegistry(t, false)}
	b.ns = b.cp.Namespace(t)
	b.Client = b.run()
	b.secret("certs", map[string]string{"ca.crt": b.ca()})
	return b
}

// run starts a controller with nothing in its memory.
func (b *bench) run() client.Client {
	b.t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, sourcev1.AddToScheme} {
		if err := add(scheme); err != nil {
			b.t.Fatal(err)
		}
	}
	b.store = source.NewStore()
	b.manager = testenv.StartManager(b.t, b.cp, scheme, func(mgr ctrl.Manager) error {
		return oci.New(source.Deps{
			Client: mgr.GetClient(), Metadata: mgr.GetCache(), Secrets: mgr.GetAPIReader(),
			Recorder: mgr.GetEventRecorderFor("lockstep"), Store: b.store,
		}, b.controller).SetupWithManager(mgr)
	})
	c, err := client.New(b.cp.RestConfig(), client.Options{Scheme: scheme})
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

func (b *bench) ca() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.registry.Certificate().Raw}))
}

func (b *bench) secret(name string, data map[string]string) {
	b.t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: name}, StringData: data}
	err := b.Create(b.t.Context(), s)
	if client.IgnoreAlreadyExists(err) != nil {
		b.t.Fatal(err)
	}
	if err != nil {
		if err := b.Update(b.t.Context(), s); err != nil {
			b.t.Fatal(err)
		}
	}
}

// dockerConfig is the credentials of a registry.
func (b *bench) dockerConfig(name, host, username, password string) {
	b.t.Helper()
	auth := base64.StdEncoding.EncodeToString([]byte(username + ":" + password))
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: name}, Type: corev1.SecretTypeDockerConfigJson}
	s.StringData = map[string]string{corev1.DockerConfigJsonKey: fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, auth)}
	if err := b.Create(b.t.Context(), s); err != nil {
		b.t.Fatal(err)
	}
}

// create makes the OCIRepository "app".
func (b *bench) create(change func(*sourcev1.OCIRepositorySpec)) {
	b.t.Helper()
	r := &sourcev1.OCIRepository{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "app"}}
	r.Spec = sourcev1.OCIRepositorySpec{
		URL: "oci://" + b.registry.Host() + "/team/app", Interval: metav1.Duration{Duration: time.Hour},
		CertSecretRef: &meta.LocalObjectReference{Name: "certs"},
	}
	if change != nil {
		change(&r.Spec)
	}
	if err := b.Create(b.t.Context(), r); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) change(f func(*sourcev1.OCIRepository)) {
	b.t.Helper()
	r := b.get()
	before := r.DeepCopy()
	f(r)
	if err := b.Patch(b.t.Context(), r, client.MergeFrom(before)); err != nil {
		b.t.Fatal(err)
	}
}

// request asks for a look, as flux reconcile does, and waits for its end.
func (b *bench) request() *sourcev1.OCIRepository {
	b.t.Helper()
	at := time.Now().String()
	b.change(func(r *sourcev1.OCIRepository) {
		r.Annotations = map[string]string{meta.ReconcileRequestAnnotation: at}
	})
	return b.eventually("handled", func(r *sourcev1.OCIRepository) bool { return r.Status.LastHandledReconcileAt == at })
}

func (b *bench) get() *sourcev1.OCIRepository {
	b.t.Helper()
	r := &sourcev1.OCIRepository{}
	if err := b.Get(b.t.Context(), client.ObjectKey{Namespace: b.ns, Name: "app"}, r); err != nil {
		b.t.Fatal(err)
	}
	return r
}

func (b *bench) eventually(what string, check func(*sourcev1.OCIRepository) bool) *sourcev1.OCIRepository {
	b.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		r := b.get()
		if check(r) {
			return r
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("%s: not so after 30 s; conditions: %+v", what, r.Status.Conditions)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (b *bench) ready(revision string) *sourcev1.OCIRepository {
	b.t.Helper()
	return b.eventually("ready with "+revision, func(r *sourcev1.OCIRepository) bool {
		return apimeta.IsStatusConditionTrue(r.Status.Conditions, "Ready") && r.Status.Artifact.Revision == revision && r.Status.ObservedGeneration == r.Generation
	})
}

func (b *bench) failed(reason string, parts ...string) *sourcev1.OCIRepository {
	b.t.Helper()
	return b.eventually("failed with "+reason, func(r *sourcev1.OCIRepository) bool {
		c := apimeta.FindStatusCondition(r.Status.Conditions, "Ready")
		if c == nil || c.Status != metav1.ConditionFalse || c.Reason != reason || r.Status.ObservedGeneration != r.Generation {
			return false
		}
		for _, p := range parts {
			if !strings.Contains(c.Message, p) {
				return false
			}
		}
		return true
	})
}

// file returns the content of a file of the newest snapshot.
func (b *bench) file(name string) (string, error) {
	s, ok := b.store.Get(sourcev1.OCIRepositoryKind, b.ns, "app")
	if !ok {
		return "", fmt.Errorf("there is no snapshot")
	}
	data, err := s.Tree.ReadFile(name)
	return string(data), err
}

// artifact is what flux push artifact makes.
func artifact(t testing.TB, layers ...v1.Layer) v1.Image {
	t.Helper()
	img, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), layers...)
	if err != nil {
		t.Fatal(err)
	}
	return mutate.Annotations(img, map[string]string{"org.opencontainers.image.revision": "main@sha1:abc"}).(v1.Image)
}

// push pushes files under tags and returns their digest.
func (b *bench) push(files map[string]string, tags ...string) string {
	b.t.Helper()
	return b.pushImage(artifact(b.t, static.NewLayer(testenv.Archive(b.t, files), layerType)), tags...)
}

func (b *bench) pushImage(img v1.Image, tags ...string) string {
	b.t.Helper()
	digest, err := img.Digest()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, tag := range tags {
		if err := remote.Write(b.ref(":"+tag), img, b.options()...); err != nil {
			b.t.Fatal(err)
		}
	}
	return digest.String()
}

func (b *bench) ref(suffix string) name.Reference {
	b.t.Helper()
	ref, err := name.ParseReference(b.registry.Host() + "/team/app" + suffix)
	if err != nil {
		b.t.Fatal(err)
	}
	return ref
}

func (b *bench) options() []remote.Option {
	return []remote.Option{
		remote.WithTransport(b.registry.Client().Transport),
		remote.WithAuth(&authn.Basic{Username: b.registry.Username, Password: b.registry.Password}), remote.WithContext(b.t.Context()),
	}
}
