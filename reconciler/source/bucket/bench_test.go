package bucket_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/reconciler/source"
	"github.com/lockstep-dev/lockstep/reconciler/source/bucket"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

var cluster = testenv.Share(func(t testing.TB) (*testenv.ControlPlane, error) {
	return testenv.StartControlPlane(t.Context(), testenv.Options{CRDs: "../../../charts/lockstep/crds"})
})

var server = testenv.Share(func(t testing.TB) (*testenv.S3, error) { return testenv.StartS3(t.Context()) })

func TestMain(m *testing.M) { testenv.Main(m) }

// bench is a running controller and what a test needs to talk to it.
type bench struct {
	client.Client
	t     *testing.T
	cp    *testenv.ControlPlane
	ns    string
	store *source.Store
}

func start(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, cp: cluster.Get(t)}
	b.ns = b.cp.Namespace(t)
	b.run()
	return b
}

// run starts a controller with nothing in its memory.
func (b *bench) run() {
	b.t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, sourcev1.AddToScheme} {
		if err := add(scheme); err != nil {
			b.t.Fatal(err)
		}
	}
	b.store = source.NewStore()
	testenv.StartManager(b.t, b.cp, scheme, func(mgr ctrl.Manager) error {
		return bucket.New(source.Deps{
			Client: mgr.GetClient(), Metadata: mgr.GetCache(), Secrets: mgr.GetAPIReader(),
			Recorder: mgr.GetEventRecorderFor("lockstep"), Store: b.store,
		}, bucket.Options{}).SetupWithManager(mgr)
	})
	var err error
	if b.Client, err = client.New(b.cp.RestConfig(), client.Options{Scheme: scheme}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) secret(name string, data map[string]string) *meta.LocalObjectReference {
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
	return &meta.LocalObjectReference{Name: name}
}

func (b *bench) create(spec sourcev1.BucketSpec) {
	b.t.Helper()
	spec.Interval = metav1.Duration{Duration: time.Hour}
	if err := b.Create(b.t.Context(), &sourcev1.Bucket{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "app"}, Spec: spec}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) change(f func(*sourcev1.Bucket)) {
	b.t.Helper()
	r := b.get()
	before := r.DeepCopy()
	f(r)
	if err := b.Patch(b.t.Context(), r, client.MergeFrom(before)); err != nil {
		b.t.Fatal(err)
	}
}

// request asks for a look, as flux reconcile does, and waits for its end.
func (b *bench) request() *sourcev1.Bucket {
	b.t.Helper()
	at := time.Now().String()
	b.change(func(r *sourcev1.Bucket) { r.Annotations = map[string]string{meta.ReconcileRequestAnnotation: at} })
	return b.eventually("handled", func(r *sourcev1.Bucket) bool { return r.Status.LastHandledReconcileAt == at })
}

func (b *bench) get() *sourcev1.Bucket {
	b.t.Helper()
	r := &sourcev1.Bucket{}
	if err := b.Get(b.t.Context(), client.ObjectKey{Namespace: b.ns, Name: "app"}, r); err != nil {
		b.t.Fatal(err)
	}
	return r
}

func (b *bench) eventually(what string, check func(*sourcev1.Bucket) bool) *sourcev1.Bucket {
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

func (b *bench) ready() *sourcev1.Bucket {
	b.t.Helper()
	return b.eventually("ready", func(r *sourcev1.Bucket) bool {
		return apimeta.IsStatusConditionTrue(r.Status.Conditions, "Ready") && r.Status.ObservedGeneration == r.Generation
	})
}

func (b *bench) failed(reason, part string) {
	b.t.Helper()
	b.eventually("failed with "+reason+" "+part, func(r *sourcev1.Bucket) bool {
		c := apimeta.FindStatusCondition(r.Status.Conditions, "Ready")
		return c != nil && c.Status == metav1.ConditionFalse && c.Reason == reason && r.Status.ObservedGeneration == r.Generation && strings.Contains(c.Message, part)
	})
}

// file returns the content of a file of the newest snapshot.
func (b *bench) file(name string) (string, error) {
	s, ok := b.store.Get(sourcev1.BucketKind, b.ns, "app")
	if !ok {
		return "", fmt.Errorf("there is no snapshot")
	}
	data, err := s.Tree.ReadFile(name)
	return string(data), err
}

// files is a bucket at the server that a test may write.
type files struct {
	*minio.Client
	t    *testing.T
	name string
}

func newFiles(t *testing.T, s3 *testenv.S3, name string) *files {
	t.Helper()
	c, err := minio.New(s3.Host(), &minio.Options{Creds: credentials.NewStaticV4(s3.Access, s3.Secret, ""), Secure: true, Transport: s3.Client().Transport})
	if err == nil {
		err = c.MakeBucket(t.Context(), name, minio.MakeBucketOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return &files{c, t, name}
}

func (f *files) put(all map[string]string) {
	f.t.Helper()
	for key, content := range all {
		if _, err := f.PutObject(f.t.Context(), f.name, key, strings.NewReader(content), int64(len(content)), minio.PutObjectOptions{}); err != nil {
			f.t.Fatal(err)
		}
	}
}
