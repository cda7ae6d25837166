package bucket_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/minio/minio-go/v7"
	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-dev/lockstep/test/testenv"
)

// open makes a bucket with files, and a Bucket that reads it.
func (b *bench) open(content map[string]string) (*testenv.S3, *files) {
	b.t.Helper()
	s3 := server.Get(b.t)
	f := newFiles(b.t, s3, b.ns)
	f.put(content)
	b.create(sourcev1.BucketSpec{
		BucketName: f.name, Endpoint: s3.Host(),
		SecretRef:     b.secret("keys", map[string]string{"accesskey": s3.Access, "secretkey": s3.Secret}),
		CertSecretRef: b.secret("certs", map[string]string{"ca.crt": string(s3.CA)}),
	})
	return s3, f
}

// reads returns which objects were read.
func reads(requests []string) (keys []string) {
	for _, r := range requests {
		if key, ok := strings.CutPrefix(r, "GET /"); ok {
			if _, key, ok = strings.Cut(key, "/"); ok && key != "" {
				keys = append(keys, key)
			}
		}
	}
	slices.Sort(keys)
	return keys
}

// TestReadsOnlyWhatChanged lists once when nothing changed, and reads one
// object when one changed.
func TestReadsOnlyWhatChanged(t *testing.T) {
	b := start(t)
	s3, f := b.open(map[string]string{"app/cm.yaml": "a: 1\n", "app/other.yaml": "b: 1\n", "logo.png": "x", "docs/x": "x", ".sourceignore": "docs/\n"})
	first := b.ready().Status.Artifact.Revision
	if got, err := b.file("app/cm.yaml"); got != "a: 1\n" {
		t.Errorf("app/cm.yaml: %q, %v", got, err)
	}
	if all := reads(s3.Requests()); slices.Contains(all, "logo.png") || slices.Contains(all, "docs/x") {
		t.Errorf("what is left out was read: %v", all)
	}
	b.request()
	if all := s3.Requests(); len(all) != 1 || !strings.HasPrefix(all[0], "GET /"+f.name) {
		t.Errorf("requests when nothing changed: %v", all)
	}
	f.put(map[string]string{"app/cm.yaml": "a: 2\n"})
	s3.Requests()
	if r := b.request(); r.Status.Artifact.Revision == first {
		t.Error("the revision stays as it was")
	}
	if all := reads(s3.Requests()); !slices.Equal(all, []string{"app/cm.yaml"}) {
		t.Errorf("reads after one change: %v", all)
	}
	if got, err := b.file("app/cm.yaml"); got != "a: 2\n" {
		t.Errorf("app/cm.yaml: %q, %v", got, err)
	}
	if err := f.RemoveObject(t.Context(), f.name, "app/other.yaml", minio.RemoveObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	b.request()
	if _, err := b.file("app/other.yaml"); err == nil {
		t.Error("a removed object is still there")
	}
}

func TestPrefixAndIgnore(t *testing.T) {
	b := start(t)
	b.open(map[string]string{"one/x": "1", "two/x": "2", "two/y": "2"})
	b.ready()
	ignore := "y\n"
	b.change(func(r *sourcev1.Bucket) { r.Spec.Prefix, r.Spec.Ignore = "two/", &ignore })
	b.ready()
	for name, want := range map[string]bool{"one/x": false, "two/x": true, "two/y": false} {
		if _, err := b.file(name); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", name, err == nil, want)
		}
	}
}

// TestManyObjects goes through several pages of a listing.
func TestManyObjects(t *testing.T) {
	b := start(t)
	all := map[string]string{}
	for i := range 1100 {
		all[strings.Repeat("x", 1+i%3)+"/"+time.Duration(i).String()] = "x"
	}
	b.open(all)
	b.ready()
	for name := range all {
		if _, err := b.file(name); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHostileKeys are names of objects that must not become files.
func TestHostileKeys(t *testing.T) {
	b := start(t)
	_, f := b.open(map[string]string{"x": "good"})
	b.ready()
	for _, key := range []string{"a/.GIT/x", "git~1/config", "back\\slash"} {
		t.Run(key, func(t *testing.T) {
			f.put(map[string]string{key: "bad"})
			b.request()
			b.failed(sourcev1.InvalidPathReason, "the path")
			if got, err := b.file("x"); got != "good" {
				t.Errorf("x: %q, %v", got, err)
			}
			if err := f.RemoveObject(t.Context(), f.name, key, minio.RemoveObjectOptions{}); err != nil {
				t.Fatal(err)
			}
		})
	}
	f.put(map[string]string{"large": strings.Repeat("x", 17<<20)})
	b.request()
	b.failed("ArtifactTooLarge", "large has")
}

func TestRefuses(t *testing.T) {
	b := start(t)
	canary := testenv.NewCanary(t)
	_, f := b.open(map[string]string{"x": "1"})
	b.ready()
	b.secret("bad", map[string]string{"accesskey": "owner", "secretkey": canary.Value()})
	b.secret("empty", map[string]string{"accesskey": "owner"})
	for name, c := range map[string]struct {
		change       func(*sourcev1.BucketSpec)
		reason, want string
	}{
		"a wrong key":             {func(s *sourcev1.BucketSpec) { s.SecretRef = &meta.LocalObjectReference{Name: "bad"} }, sourcev1.AuthenticationFailedReason, "spec.secretRef"},
		"a Secret without a key":  {func(s *sourcev1.BucketSpec) { s.SecretRef = &meta.LocalObjectReference{Name: "empty"} }, sourcev1.AuthenticationFailedReason, "secretkey"},
		"no credentials":          {func(s *sourcev1.BucketSpec) { s.SecretRef = nil }, sourcev1.AuthenticationFailedReason, "403"},
		"no such bucket":          {func(s *sourcev1.BucketSpec) { s.BucketName = f.name + "-none" }, sourcev1.BucketOperationFailedReason, "no such bucket"},
		"an address that is none": {func(s *sourcev1.BucketSpec) { s.Endpoint = "https://x.example.test/" }, sourcev1.URLInvalidReason, "spec.endpoint"},
		"a server that is not trusted": {func(s *sourcev1.BucketSpec) { s.CertSecretRef = nil },
			sourcev1.BucketOperationFailedReason, "spec.certSecretRef"},
		"azure":               {func(s *sourcev1.BucketSpec) { s.Provider = "azure" }, "UnsupportedField", "azure"},
		"our own identity":    {func(s *sourcev1.BucketSpec) { s.Provider, s.SecretRef = "aws", nil }, "UnsupportedField", "identity"},
		"Google without keys": {func(s *sourcev1.BucketSpec) { s.Provider = "gcp" }, sourcev1.AuthenticationFailedReason, "serviceaccount"},
		"LDAP in clear": {func(s *sourcev1.BucketSpec) {
			s.STS = &sourcev1.BucketSTSSpec{Provider: "ldap", Endpoint: "http://sts.example.test", SecretRef: b.secret("ldap", map[string]string{"username": "u", "password": canary.Value()})}
		}, sourcev1.AuthenticationFailedReason, "spec.sts.endpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			before := b.get().Spec.DeepCopy()
			b.change(func(r *sourcev1.Bucket) { c.change(&r.Spec) })
			b.failed(c.reason, c.want)
			b.change(func(r *sourcev1.Bucket) { r.Spec = *before })
			b.ready()
		})
	}
	canary.NotInCluster(t, b.cp, types.NamespacedName{Namespace: b.ns, Name: "bad"}, types.NamespacedName{Namespace: b.ns, Name: "ldap"})
}

// TestSuspendedAfterRestart has again what was there, as long as the bucket
// still holds it, and nothing else.
func TestSuspendedAfterRestart(t *testing.T) {
	b := start(t)
	_, f := b.open(map[string]string{"x": "old"})
	b.ready()
	b.change(func(r *sourcev1.Bucket) { r.Spec.Suspend = true })
	b.run()
	deadline := time.Now().Add(30 * time.Second)
	for got := ""; got != "old"; got, _ = b.file("x") {
		if time.Now().After(deadline) {
			t.Fatal("nothing was restored within 30 s")
		}
		time.Sleep(20 * time.Millisecond)
	}
	f.put(map[string]string{"x": "new"})
	b.run()
	time.Sleep(2 * time.Second) // a wrong one would be there by then
	if got, err := b.file("x"); err == nil {
		t.Errorf("restored another content than the suspended one: %q", got)
	}
}
