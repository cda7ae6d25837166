package oci_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/static"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lockstep-dev/lockstep/test/testenv"
)

// TestFollowsATag pulls an artifact, asks once when nothing changed, and pulls
// what is new.
func TestFollowsATag(t *testing.T) {
	b := start(t)
	first := b.push(map[string]string{"./app/cm.yaml": "a: 1\n", "logo.png": "x", ".sourceignore": "/docs\n", "docs/x": "x"}, "latest")
	b.create(nil)
	r := b.ready("latest@" + first)
	if got, err := b.file("app/cm.yaml"); got != "a: 1\n" {
		t.Errorf("app/cm.yaml: %q, %v", got, err)
	}
	for _, name := range []string{"logo.png", "docs/x"} { // left out by default, and by .sourceignore
		if _, err := b.file(name); err == nil {
			t.Errorf("%s is there", name)
		}
	}
	if got := r.Status.Artifact.Metadata["org.opencontainers.image.revision"]; got != "main@sha1:abc" {
		t.Errorf("metadata: %q", got)
	}
	b.registry.Requests()
	b.request()
	if diff := cmp.Diff([]string{"HEAD /v2/team/app/manifests/latest"}, b.registry.Requests()); diff != "" {
		t.Errorf("requests when nothing changed (-want +got):\n%s", diff)
	}
	second := b.push(map[string]string{"app/cm.yaml": "a: 2\n"}, "latest")
	b.request()
	b.ready("latest@" + second)
	if got, err := b.file("app/cm.yaml"); got != "a: 2\n" {
		t.Errorf("app/cm.yaml: %q, %v", got, err)
	}
}

func TestReference(t *testing.T) {
	b := start(t)
	one, two, three := b.push(map[string]string{"v": "1"}, "1.0.0", "stable"), b.push(map[string]string{"v": "2"}, "1.2.0"), b.push(map[string]string{"v": "3"}, "1.3.0-rc1")
	b.create(func(s *sourcev1.OCIRepositorySpec) { s.Reference = &sourcev1.OCIRepositoryRef{Tag: "stable"} })
	b.ready("stable@" + one)
	for _, c := range []struct {
		ref  sourcev1.OCIRepositoryRef
		want string
	}{
		{sourcev1.OCIRepositoryRef{SemVer: "1.x", Tag: "stable"}, "1.2.0@" + two},
		{sourcev1.OCIRepositoryRef{SemVer: ">=1.0.0-0", SemverFilter: "-rc"}, "1.3.0-rc1@" + three},
		{sourcev1.OCIRepositoryRef{Digest: one, SemVer: "1.x", Tag: "1.2.0"}, one},
	} {
		b.change(func(r *sourcev1.OCIRepository) { r.Spec.Reference = &c.ref })
		b.ready(c.want)
	}
	for _, c := range []struct {
		ref  sourcev1.OCIRepositoryRef
		want string
	}{
		{sourcev1.OCIRepositoryRef{SemVer: "9.x"}, "spec.ref.semver"},
		{sourcev1.OCIRepositoryRef{SemVer: "new"}, "spec.ref.semver"},
		{sourcev1.OCIRepositoryRef{SemVer: "1.x", SemverFilter: "("}, "spec.ref.semverFilter"},
		{sourcev1.OCIRepositoryRef{Digest: "sha256:1"}, "spec.ref.digest"},
		{sourcev1.OCIRepositoryRef{Tag: "../x"}, "spec.ref.tag"},
		{sourcev1.OCIRepositoryRef{Tag: "none"}, "there is no such artifact"},
	} {
		b.change(func(r *sourcev1.OCIRepository) { r.Spec.Reference = &c.ref })
		b.failed(sourcev1.OCIPullFailedReason, c.want)
	}
	if got, err := b.file("v"); got != "1" {
		t.Errorf("after failures the last good one stays: got %q, %v", got, err)
	}
}

func TestLayerSelector(t *testing.T) {
	b := start(t)
	chart := testenv.Archive(t, map[string]string{"chart/Chart.yaml": "x"})
	digest := b.pushImage(artifact(t, static.NewLayer(testenv.Archive(t, map[string]string{"first": "1"}), layerType), static.NewLayer(chart, "application/x.chart")), "latest")
	b.create(nil)
	b.ready("latest@" + digest)
	if got, err := b.file("first"); got != "1" {
		t.Errorf("first: %q, %v", got, err)
	}
	b.change(func(r *sourcev1.OCIRepository) {
		r.Spec.LayerSelector = &sourcev1.OCILayerSelector{MediaType: "application/x.chart"}
	})
	b.ready("latest@" + digest)
	if got, err := b.file("chart/Chart.yaml"); got != "x" {
		t.Errorf("chart/Chart.yaml: %q, %v", got, err)
	}
	b.change(func(r *sourcev1.OCIRepository) { r.Spec.LayerSelector.Operation = sourcev1.OCILayerCopy })
	b.ready("latest@" + digest)
	if got, err := b.file("artifact.tar.gz"); got != string(chart) {
		t.Errorf("artifact.tar.gz: %d bytes, %v", len(got), err)
	}
	b.change(func(r *sourcev1.OCIRepository) { r.Spec.LayerSelector.MediaType = "application/none" })
	b.failed(sourcev1.OCILayerOperationFailedReason, "spec.layerSelector.mediaType", "application/x.chart")
}

// TestCredentials gives the registry's password to it alone, and shows it to
// nobody.
func TestCredentials(t *testing.T) {
	b := start(t)
	canary := testenv.NewCanary(t)
	b.registry.Username, b.registry.Password = "robot", canary.Value()
	digest := b.push(map[string]string{"x": "1"}, "latest")
	b.create(nil)
	b.failed(sourcev1.AuthenticationFailedReason, "spec.secretRef")
	b.dockerConfig("wrong", b.registry.Host(), "robot", "wrong")
	b.change(func(r *sourcev1.OCIRepository) { r.Spec.SecretRef = &meta.LocalObjectReference{Name: "wrong"} })
	b.failed(sourcev1.AuthenticationFailedReason, "put the right credentials", "wrong")
	b.dockerConfig("other", "registry.example.test", "robot", canary.Value())
	b.change(func(r *sourcev1.OCIRepository) { r.Spec.SecretRef.Name = "other" })
	b.failed(sourcev1.AuthenticationFailedReason, "no credentials for")
	b.dockerConfig("right", "https://"+b.registry.Host()+"/team", "robot", canary.Value())
	b.change(func(r *sourcev1.OCIRepository) { r.Spec.SecretRef.Name = "right" })
	b.ready("latest@" + digest)

	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "puller"}, ImagePullSecrets: []corev1.LocalObjectReference{{Name: "other"}, {Name: "right"}}}
	if err := b.Create(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	b.change(func(r *sourcev1.OCIRepository) { r.Spec.SecretRef, r.Spec.ServiceAccountName = nil, "puller" })
	b.ready("latest@" + digest)
	b.change(func(r *sourcev1.OCIRepository) { r.Spec.ServiceAccountName = "none" })
	b.failed(sourcev1.AuthenticationFailedReason, "spec.serviceAccountName")
	canary.NotInCluster(t, b.cp)
}

func TestRefuses(t *testing.T) {
	b := start(t)
	b.push(map[string]string{"x": "1"}, "latest")
	b.create(func(s *sourcev1.OCIRepositorySpec) { s.CertSecretRef = nil })
	b.failed(sourcev1.OCIPullFailedReason, "certificate")
	for name, c := range map[string]struct {
		change       func(*sourcev1.OCIRepositorySpec)
		reason, want string
	}{
		"a tag in the address": {func(s *sourcev1.OCIRepositorySpec) { s.URL += ":latest" }, sourcev1.URLInvalidReason, "spec.url"},
		"a cloud's provider":   {func(s *sourcev1.OCIRepositorySpec) { s.Provider = "aws" }, "UnsupportedField", "spec.provider"},
		"a proxy of no address": {func(s *sourcev1.OCIRepositorySpec) {
			s.ProxySecretRef = &meta.LocalObjectReference{Name: "certs"}
		}, sourcev1.AuthenticationFailedReason, "spec.proxySecretRef"},
		"a Secret that is not there": {func(s *sourcev1.OCIRepositorySpec) {
			s.CertSecretRef = &meta.LocalObjectReference{Name: "none"}
		}, sourcev1.AuthenticationFailedReason, "create it"},
	} {
		t.Run(name, func(t *testing.T) {
			before := b.get().Spec.DeepCopy()
			b.change(func(r *sourcev1.OCIRepository) { c.change(&r.Spec) })
			b.failed(c.reason, c.want)
			b.change(func(r *sourcev1.OCIRepository) { r.Spec = *before })
		})
	}
}

// TestHostileArtifacts pulls what must not become a tree.
func TestHostileArtifacts(t *testing.T) {
	b := start(t)
	good := b.push(map[string]string{"x": "good"}, "latest")
	b.create(nil)
	b.ready("latest@" + good)
	for name, files := range map[string]map[string]string{
		"a path that leads out": {"../x": "1"},
		"an absolute path":      {"/etc/passwd": "1"},
		"Git's folder":          {".git/config": "1"},
		"a file and a folder":   {"a": "1", "a/b": "2"},
		"a large file":          {"x": strings.Repeat("x", 17<<20)},
	} {
		t.Run(name, func(t *testing.T) {
			b.push(files, "latest")
			b.request()
			r := b.get()
			if r.Status.Artifact.Revision != "latest@"+good {
				t.Errorf("revision: %s", r.Status.Artifact.Revision)
			}
			if c := r.Status.Conditions; !strings.Contains(c[0].Message, "x") && len(c) < 2 {
				t.Errorf("conditions: %+v", c)
			}
			if got, err := b.file("x"); got != "good" {
				t.Errorf("x: %q, %v", got, err)
			}
		})
	}
}

// TestSuspendedAfterRestart has again what was there when the repository was
// suspended, and nothing newer.
func TestSuspendedAfterRestart(t *testing.T) {
	b := start(t)
	old := b.push(map[string]string{"x": "old"}, "latest")
	b.create(nil)
	b.ready("latest@" + old)
	b.change(func(r *sourcev1.OCIRepository) { r.Spec.Suspend = true })
	b.push(map[string]string{"x": "new"}, "latest")
	before := b.get()
	b.run()
	deadline := time.Now().Add(30 * time.Second)
	for got := ""; got != "old"; got, _ = b.file("x") {
		if time.Now().After(deadline) {
			t.Fatal("nothing was restored within 30 s")
		}
		time.Sleep(20 * time.Millisecond)
	}
	if after := b.get(); after.ResourceVersion != before.ResourceVersion {
		t.Errorf("the suspended object was written: %+v", after.Status)
	}
}
