package oci_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lockstep-dev/lockstep/test/testenv"
)

// TestFluxClient pushes an artifact and makes, watches and removes an
// OCIRepository with the genuine client of Flux.
func TestFluxClient(t *testing.T) {
	b := start(t)
	flux := testenv.Flux(t, b.cp, b.ns)
	plain := testenv.StartRegistry(t, true)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "cm.yaml"), []byte("a: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	url := "oci://" + plain.Host() + "/team/app"
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"push", "artifact", url + ":v1", "--path=" + dir, "--source=https://example.test/x", "--revision=main@sha1:abc", "--insecure-registry"}, []string{"artifact successfully pushed"}},
		{[]string{"create", "source", "oci", "app", "--url=" + url, "--tag=v1", "--interval=1h", "--insecure"}, []string{"v1@sha256:"}},
		{[]string{"get", "sources", "oci"}, []string{"app", "v1@sha256:", "True"}},
		{[]string{"reconcile", "source", "oci", "app"}, []string{"fetched revision v1@sha256:"}},
		{[]string{"suspend", "source", "oci", "app"}, []string{"suspended"}},
		{[]string{"resume", "source", "oci", "app"}, []string{"fetched revision v1@sha256:"}},
		{[]string{"export", "source", "oci", "app"}, []string{"kind: OCIRepository", "tag: v1", "insecure: true"}},
		{[]string{"events", "--for", "OCIRepository/app"}, []string{"NewArtifact"}},
		{[]string{"delete", "source", "oci", "app", "--silent"}, []string{"deleted"}},
	} {
		out := flux(c.args...)
		for _, w := range c.want {
			if !strings.Contains(out, w) {
				t.Errorf("flux %s: want %q in:\n%s", strings.Join(c.args, " "), w, out)
			}
		}
	}
}
