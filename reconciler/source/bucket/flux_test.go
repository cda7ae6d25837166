package bucket_test

import (
	"strings"
	"testing"

	"github.com/lockstep-dev/lockstep/test/testenv"
)

// TestFluxClient makes, watches and removes a Bucket with the genuine client
// of Flux.
func TestFluxClient(t *testing.T) {
	b := start(t)
	flux, s3 := testenv.Flux(t, b.cp, b.ns), server.Get(t)
	newFiles(t, s3, b.ns).put(map[string]string{"cm.yaml": "a: 1\n"})
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"create", "source", "bucket", "app", "--bucket-name=" + b.ns, "--endpoint=" + s3.Plain, "--insecure", "--access-key=" + s3.Access, "--secret-key=" + s3.Secret, "--interval=1h"}, []string{"fetched revision: sha256:"}},
		{[]string{"get", "sources", "bucket"}, []string{"app", "sha256:", "True"}},
		{[]string{"reconcile", "source", "bucket", "app"}, []string{"fetched revision sha256:"}},
		{[]string{"suspend", "source", "bucket", "app"}, []string{"suspended"}},
		{[]string{"resume", "source", "bucket", "app"}, []string{"fetched revision sha256:"}},
		{[]string{"export", "source", "bucket", "app"}, []string{"kind: Bucket", "bucketName: " + b.ns}},
		{[]string{"delete", "source", "bucket", "app", "--silent"}, []string{"deleted"}},
	} {
		out := flux(c.args...)
		for _, w := range c.want {
			if !strings.Contains(out, w) {
				t.Errorf("flux %s: want %q in:\n%s", strings.Join(c.args, " "), w, out)
			}
		}
	}
}
