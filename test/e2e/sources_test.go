package e2e

import (
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
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
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/test/stage"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// published is what someone keeps manifests in.
type published interface {
	// source is the object that follows it.
	source() client.Object
	// publish replaces what is in it. What it is made of has a revision, which
	// is told where there is a place for that.
	publish(t *testing.T, files map[string]string, origin string)
	// origin reports whether there is a place for it.
	hasOrigin() bool
}

// TestKustomizationOfEverySource applies what is in an artifact, a bucket and
// what another controller publishes, and again what is there later.
func TestKustomizationOfEverySource(t *testing.T) {
	s := shared.Get(t)
	for kind, start := range map[string]func(t *testing.T, s *stage.Stage, name string) published{
		sourcev1.OCIRepositoryKind: startArtifacts, sourcev1.BucketKind: startBucket, sourcev1.ExternalArtifactKind: startPublisher,
	} {
		t.Run(kind, func(t *testing.T) {
			// Another one each time: what the last run made may still be there.
			ns := fmt.Sprintf("from-%s-%d", strings.ToLower(kind), time.Now().UnixNano())
			namespace(t, s, ns)
			from := start(t, s, ns)
			at := key(stage.FluxNamespace, ns)
			ks := stage.Sync(ns, from.source().GetName(), "./deploy")
			ks.Spec.SourceRef.Kind, ks.Spec.TargetNamespace = kind, ns
			from.publish(t, map[string]string{"deploy/a.yaml": configMap("a", "1"), "deploy/b.yaml": configMap("b", "1"), "other.yaml": configMap("c", "1")}, "main@sha1:1")
			if err := s.Ensure(t.Context(), from.source(), ks); err != nil {
				t.Fatal(err)
			}
			from.publish(t, nil, "") // to one that waits for its object
			first := applied(t, s, at, "", "1")
			if got := holds(t, s, ns, "b"); got != "1" {
				t.Errorf("b: got %q", got)
			}
			from.publish(t, map[string]string{"deploy/a.yaml": configMap("a", "2")}, "main@sha1:2")
			request(t, s, from.source())
			second := applied(t, s, at, first.Status.LastAppliedRevision, "2")
			if holds(t, s, ns, "b") != "" {
				t.Error("what is not in the source any more is still there")
			}
			if from.hasOrigin() && (first.Status.LastAppliedOriginRevision != "main@sha1:1" || second.Status.LastAppliedOriginRevision != "main@sha1:2") {
				t.Errorf("lastAppliedOriginRevision: got %q, then %q", first.Status.LastAppliedOriginRevision, second.Status.LastAppliedOriginRevision)
			}
			if holds(t, s, ns, "c") != "" {
				t.Error("what is not below the path is applied")
			}
			gone(t, s, ks, ns)
		})
	}
}

func configMap(name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\ndata:\n  v: %q\n", name, value)
}

// holds returns the value of a ConfigMap, or nothing if it is not there.
func holds(t *testing.T, s *stage.Stage, ns, name string) string {
	t.Helper()
	cm := &corev1.ConfigMap{}
	if err := s.Client.Get(t.Context(), key(ns, name), cm); client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	return cm.Data["v"]
}

// applied waits until the Kustomization has applied another revision than one
// before, and a value of ConfigMap a with it.
func applied(t *testing.T, s *stage.Stage, at client.ObjectKey, before, value string) *kustomizev1.Kustomization {
	t.Helper()
	ks := &kustomizev1.Kustomization{}
	eventually(t, enough, func() string {
		if wrong := notReady(t, s, ks, at); wrong != "" {
			return wrong
		}
		if ks.Status.LastAppliedRevision == before {
			return "it has applied " + before
		}
		return ""
	})
	if got := holds(t, s, ks.Spec.TargetNamespace, "a"); got != value {
		t.Errorf("a: got %q with revision %s, want %q", got, ks.Status.LastAppliedRevision, value)
	}
	return ks
}

// request asks for a look, as flux reconcile does.
func request(t *testing.T, s *stage.Stage, o client.Object) {
	t.Helper()
	if err := s.Client.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		t.Fatal(err)
	}
	before := o.DeepCopyObject().(client.Object)
	o.SetAnnotations(map[string]string{meta.ReconcileRequestAnnotation: time.Now().String()})
	if err := s.Client.Patch(t.Context(), o, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
}

// gone deletes the Kustomization and waits until what it applied is gone.
func gone(t *testing.T, s *stage.Stage, ks *kustomizev1.Kustomization, ns string) {
	t.Helper()
	if err := s.Client.Delete(t.Context(), ks); err != nil {
		t.Fatal(err)
	}
	eventually(t, enough, func() string {
		err := s.Client.Get(t.Context(), client.ObjectKeyFromObject(ks), &kustomizev1.Kustomization{})
		if !apierrors.IsNotFound(err) || holds(t, s, ns, "a") != "" {
			return fmt.Sprintf("the Kustomization (%v) or what it applied is still there", err)
		}
		return ""
	})
}

func objectMeta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: stage.FluxNamespace, Name: name}
}

var hour = metav1.Duration{Duration: time.Hour}

// trust makes a Secret with what a source is reached by.
func trust(t *testing.T, s *stage.Stage, name string, data map[string]string) *meta.LocalObjectReference {
	t.Helper()
	if err := s.Ensure(t.Context(), &corev1.Secret{ObjectMeta: objectMeta(name), StringData: data}); err != nil {
		t.Fatal(err)
	}
	return &meta.LocalObjectReference{Name: name}
}

// artifacts is a repository of a registry, with what flux push artifact makes.
type artifacts struct {
	registry *testenv.Registry
	object   *sourcev1.OCIRepository
}

func startArtifacts(t *testing.T, s *stage.Stage, name string) published {
	r := testenv.StartRegistry(t, false)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw})
	return &artifacts{r, &sourcev1.OCIRepository{ObjectMeta: objectMeta(name), Spec: sourcev1.OCIRepositorySpec{
		URL: "oci://" + r.Host() + "/team/app", Interval: hour, CertSecretRef: trust(t, s, name+"-ca", map[string]string{"ca.crt": string(ca)}),
	}}}
}

func (a *artifacts) source() client.Object { return a.object }
func (a *artifacts) hasOrigin() bool       { return true }

func (a *artifacts) publish(t *testing.T, files map[string]string, origin string) {
	t.Helper()
	if files == nil {
		return
	}
	layer := static.NewLayer(testenv.Archive(t, files), "application/vnd.cncf.flux.content.v1.tar+gzip")
	image, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), layer)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(a.registry.Host() + "/team/app:latest")
	if err == nil {
		image = mutate.Annotations(image, map[string]string{"org.opencontainers.image.revision": origin}).(v1.Image)
		options := []remote.Option{remote.WithTransport(a.registry.Client().Transport), remote.WithContext(t.Context())}
		if a.registry.Username != "" {
			options = append(options, remote.WithAuth(&authn.Basic{Username: a.registry.Username, Password: a.registry.Password}))
		}
		err = remote.Write(ref, image, options...)
	}
	if err != nil {
		t.Fatal(err)
	}
}

var s3 = testenv.Share(func(t testing.TB) (*testenv.S3, error) { return testenv.StartS3(t.Context()) })

// bucket is one at a server that speaks S3.
type bucket struct {
	*minio.Client
	object *sourcev1.Bucket
}

// openBucket makes a bucket.
func openBucket(t *testing.T, name string) *minio.Client {
	t.Helper()
	server := s3.Get(t)
	c, err := minio.New(server.Host(), &minio.Options{Creds: credentials.NewStaticV4(server.Access, server.Secret, ""), Secure: true, Transport: server.Client().Transport})
	if err == nil {
		err = c.MakeBucket(t.Context(), name, minio.MakeBucketOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func startBucket(t *testing.T, s *stage.Stage, name string) published {
	server, c := s3.Get(t), openBucket(t, name)
	return &bucket{c, &sourcev1.Bucket{ObjectMeta: objectMeta(name), Spec: sourcev1.BucketSpec{
		BucketName: name, Endpoint: server.Host(), Interval: hour,
		SecretRef:     trust(t, s, name+"-keys", map[string]string{"accesskey": server.Access, "secretkey": server.Secret}),
		CertSecretRef: trust(t, s, name+"-ca", map[string]string{"ca.crt": string(server.CA)}),
	}}}
}

func (b *bucket) source() client.Object { return b.object }
func (b *bucket) hasOrigin() bool       { return false } // an object of S3 is made of nothing

func (b *bucket) publish(t *testing.T, files map[string]string, _ string) {
	t.Helper()
	if files == nil {
		return
	}
	for o := range b.ListObjects(t.Context(), b.object.Name, minio.ListObjectsOptions{Recursive: true}) {
		if _, ok := files[o.Key]; ok {
			continue
		}
		if err := b.RemoveObject(t.Context(), b.object.Name, o.Key, minio.RemoveObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range files {
		if _, err := b.PutObject(t.Context(), b.object.Name, name, strings.NewReader(content), int64(len(content)), minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// publisher is a controller that publishes an ExternalArtifact.
type publisher struct {
	*httptest.Server
	stage   *stage.Stage
	content atomic.Pointer[[]byte]
	origin  string
	object  *sourcev1.ExternalArtifact
}

func startPublisher(t *testing.T, s *stage.Stage, name string) published {
	p := &publisher{stage: s, object: &sourcev1.ExternalArtifact{ObjectMeta: objectMeta(name)}}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(*p.content.Load()) }))
	t.Cleanup(p.Close)
	return p
}

func (p *publisher) source() client.Object { return p.object }
func (p *publisher) hasOrigin() bool       { return true }

// publish tells of the content as soon as there is the object.
func (p *publisher) publish(t *testing.T, files map[string]string, origin string) {
	t.Helper()
	if files != nil {
		data := testenv.Archive(t, files)
		p.content.Store(&data)
		p.origin = origin
	}
	a := &sourcev1.ExternalArtifact{}
	err := p.stage.Client.Get(t.Context(), client.ObjectKeyFromObject(p.object), a)
	if apierrors.IsNotFound(err) {
		return
	}
	if err == nil {
		digest := fmt.Sprintf("sha256:%x", sha256.Sum256(*p.content.Load()))
		before := a.DeepCopy()
		a.Status.Artifact = &meta.Artifact{
			Path: "made", URL: p.URL + "/made.tar.gz", Revision: "latest@" + digest, Digest: digest,
			LastUpdateTime: metav1.Now(), Metadata: map[string]string{"org.opencontainers.image.revision": p.origin},
		}
		err = p.stage.Client.Status().Patch(t.Context(), a, client.MergeFrom(before))
	}
	if err != nil {
		t.Fatal(err)
	}
}
