package e2e

import (
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lockstep-dev/lockstep/test/testenv"
)

// authority writes a certificate to a file for flux create secret tls.
func authority(t *testing.T, certificate []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(path, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestFluxClientArtifacts makes, follows, traces and removes what comes from a
// private registry with the genuine client of Flux.
func TestFluxClientArtifacts(t *testing.T) {
	f := newFlux(t)
	canary := testenv.NewCanary(t)
	registry := testenv.StartRegistry(t, false)
	registry.Username, registry.Password = "robot", canary.Value()
	from := &artifacts{registry: registry}
	from.publish(t, map[string]string{"deploy/a.yaml": configMap("a", "1")}, "main@sha1:1")
	ca := authority(t, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: registry.Certificate().Raw}))
	url := "oci://" + registry.Host() + "/team/app"
	f.rows(t, []fluxRow{
		{[]string{"create", "secret", "oci", "pull", "--url=" + registry.Host(), "--username=robot", "--password=" + canary.Value()}, []string{"pull"}, f.secretMade(t, "pull", corev1.DockerConfigJsonKey)},
		{[]string{"create", "secret", "tls", "ca", "--ca-crt-file=" + ca}, []string{"ca"}, f.secretMade(t, "ca", "ca.crt")},
		{[]string{"create", "source", "oci", "app", "--url=" + url, "--tag=latest", "--secret-ref=pull", "--cert-ref=ca", "--interval=1h"}, []string{"fetched revision: latest@sha256:"}, nil},
		{[]string{"create", "kustomization", "app", "--source=OCIRepository/app", "--path=./deploy", "--prune", "--interval=1h", "--target-namespace=" + f.ns}, []string{"applied revision latest@sha256:"}, f.value(t, "1")},
	})
	if t.Failed() {
		t.FailNow()
	}
	from.publish(t, map[string]string{"deploy/a.yaml": configMap("a", "2")}, "main@sha1:2")
	f.rows(t, []fluxRow{
		{[]string{"reconcile", "source", "oci", "app"}, []string{"fetched revision latest@sha256:"}, f.value(t, "2")},
		{[]string{"reconcile", "kustomization", "app", "--with-source"}, []string{"fetched revision latest@sha256:", "applied revision latest@sha256:"}, nil},
		{[]string{"get", "sources", "oci"}, []string{"app", "latest@sha256:", "True"}, nil},
		{[]string{"get", "sources", "all"}, []string{"ocirepository/app", "True"}, nil},
		{[]string{"get", "all"}, []string{"ocirepository/app", "kustomization/app", "True"}, nil},
		{[]string{"export", "source", "oci", "app"}, []string{"kind: OCIRepository", "url: " + url, "tag: latest", "name: pull"}, nil},
		{[]string{"export", "source", "oci", "--all"}, []string{"kind: OCIRepository", "name: app"}, nil},
		{[]string{"events", "--for", "OCIRepository/app"}, []string{"NewArtifact"}, nil},
		{[]string{"events", "--for", "Kustomization/app"}, []string{"latest@sha256:"}, nil},
		{[]string{"trace", "configmap", "a"}, []string{"Managed by Flux", "Kustomization:", "OCIRepository:   app", "URL:             " + url, "Origin Revision: main@sha1:2"}, nil},
		{[]string{"tree", "kustomization", "app"}, []string{"Kustomization/" + f.ns + "/app", "ConfigMap/" + f.ns + "/a"}, nil},
		{[]string{"suspend", "source", "oci", "app"}, []string{"suspended"}, f.suspended(t, &sourcev1.OCIRepository{}, true)},
		{[]string{"resume", "source", "oci", "app"}, []string{"fetched revision latest@sha256:"}, f.suspended(t, &sourcev1.OCIRepository{}, false)},
		{[]string{"delete", "kustomization", "app", "--silent"}, []string{"deleted"}, f.absent(t, &kustomizev1.Kustomization{})},
		{[]string{"get", "sources", "oci"}, []string{"app"}, f.value(t, "")},
		{[]string{"delete", "source", "oci", "app", "--silent"}, []string{"deleted"}, f.absent(t, &sourcev1.OCIRepository{})},
	})
	noLeak(t, f.Stage, canary, key(f.ns, "pull"))
}

// TestFluxClientBucket makes, follows and removes a private bucket with the
// genuine client of Flux. It has no flag for an authority: without TLS, then.
func TestFluxClientBucket(t *testing.T) {
	f := newFlux(t)
	server := s3.Get(t)
	from := &bucket{openBucket(t, f.ns), &sourcev1.Bucket{ObjectMeta: metav1.ObjectMeta{Name: f.ns}}}
	from.publish(t, map[string]string{"deploy/a.yaml": configMap("a", "1")}, "")
	f.rows(t, []fluxRow{
		{[]string{"create", "source", "bucket", "app", "--bucket-name=" + f.ns, "--endpoint=" + server.Plain, "--insecure", "--access-key=" + server.Access, "--secret-key=" + server.Secret, "--interval=1h"}, []string{"fetched revision: sha256:"}, f.secretMade(t, "bucket-app", "secretkey")},
		{[]string{"create", "kustomization", "app", "--source=Bucket/app", "--path=./deploy", "--prune", "--interval=1h", "--target-namespace=" + f.ns}, []string{"applied revision sha256:"}, f.value(t, "1")},
	})
	if t.Failed() {
		t.FailNow()
	}
	from.publish(t, map[string]string{"deploy/a.yaml": configMap("a", "2")}, "")
	f.rows(t, []fluxRow{
		{[]string{"reconcile", "source", "bucket", "app"}, []string{"fetched revision sha256:"}, f.value(t, "2")},
		{[]string{"reconcile", "kustomization", "app", "--with-source"}, []string{"fetched revision sha256:", "applied revision sha256:"}, nil},
		{[]string{"get", "sources", "bucket"}, []string{"app", "sha256:", "True"}, nil},
		{[]string{"get", "sources", "all"}, []string{"bucket/app", "True"}, nil},
		{[]string{"get", "all"}, []string{"bucket/app", "kustomization/app", "True"}, nil},
		{[]string{"export", "source", "bucket", "app"}, []string{"kind: Bucket", "bucketName: " + f.ns, "name: bucket-app"}, nil},
		{[]string{"export", "source", "bucket", "--all"}, []string{"kind: Bucket", "name: app"}, nil},
		{[]string{"events", "--for", "Bucket/app"}, []string{"NewArtifact"}, nil},
		{[]string{"tree", "kustomization", "app"}, []string{"Kustomization/" + f.ns + "/app", "ConfigMap/" + f.ns + "/a"}, nil},
		{[]string{"suspend", "source", "bucket", "app"}, []string{"suspended"}, f.suspended(t, &sourcev1.Bucket{}, true)},
		{[]string{"resume", "source", "bucket", "app"}, []string{"fetched revision sha256:"}, f.suspended(t, &sourcev1.Bucket{}, false)},
		{[]string{"delete", "kustomization", "app", "--silent"}, []string{"deleted"}, f.absent(t, &kustomizev1.Kustomization{})},
		{[]string{"get", "sources", "bucket"}, []string{"app"}, f.value(t, "")},
		{[]string{"delete", "source", "bucket", "app", "--silent"}, []string{"deleted"}, f.absent(t, &sourcev1.Bucket{})},
	})
}

// TestFluxClientExports wants what flux create --export prints for each source
// to be taken by the API server as it is.
func TestFluxClientExports(t *testing.T) {
	f := newFlux(t)
	for _, args := range [][]string{
		{"create", "source", "oci", "app", "--url=oci://registry.example.test/app", "--tag-semver=>=1.0.0", "--verify-provider=cosign", "--verify-secret-ref=cosign", "--ignore-paths=a,b", "--proxy-secret-ref=proxy", "--service-account=app", "--layer-selector=application/x.tar:extract", "--interval=1h", "--export"},
		{"create", "source", "bucket", "app", "--bucket-name=deploy", "--endpoint=s3.example.test", "--region=eu-central-1", "--secret-ref=keys", "--proxy-secret-ref=proxy", "--ignore-paths=a,b", "--interval=1h", "--export"},
	} {
		out, err := f.run(t, args...)
		if err != nil {
			t.Fatalf("flux %s: %v\n%s", strings.Join(args[:4], " "), err, out)
		}
		takes(t, f.Stage, "flux "+strings.Join(args[:4], " "), out)
	}
}
