package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/test/stage"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// fluxRow is one call of the genuine client of Flux.
type fluxRow struct {
	args  []string
	want  []string      // in what it prints
	after func() string // why the cluster is not as it should be then
}

// fluxClient is the genuine client of Flux in one namespace of the stage.
type fluxClient struct {
	*stage.Stage
	path, ns, home string
}

func newFlux(t *testing.T) *fluxClient {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the genuine flux; not under -short")
	}
	path, err := testenv.Binary(t.Context(), "flux", os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	f := &fluxClient{shared.Get(t), path, fmt.Sprintf("flux-%d", time.Now().UnixNano()), t.TempDir()}
	namespace(t, f.Stage, f.ns)
	return f
}

// run calls flux and returns what it prints, and the error of a failure.
func (f *fluxClient) run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, f.path, append(args, "--kubeconfig", f.Cluster.Kubeconfig(), "--namespace", f.ns)...)
	cmd.Env = append(os.Environ(), "HOME="+f.home)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// rows calls flux for each row.
func (f *fluxClient) rows(t *testing.T, rows []fluxRow) {
	t.Helper()
	for _, r := range rows {
		call := "flux " + strings.Join(r.args[:min(4, len(r.args))], " ")
		out, err := f.run(t, r.args...)
		if err != nil {
			t.Fatalf("%s: %v\n%s", call, err, out)
		}
		for _, w := range r.want {
			if !strings.Contains(out, w) {
				t.Errorf("%s: want %q in:\n%s", call, w, out)
			}
		}
		if r.after != nil {
			eventually(t, enough, r.after)
		}
	}
}

// suspended returns a check of spec.suspend of the source or Kustomization app.
func (f *fluxClient) suspended(t *testing.T, o client.Object, want bool) func() string {
	return func() string {
		if err := f.Client.Get(t.Context(), key(f.ns, "app"), o); err != nil {
			return err.Error()
		}
		got := false
		switch o := o.(type) {
		case *sourcev1.GitRepository:
			got = o.Spec.Suspend
		case *sourcev1.OCIRepository:
			got = o.Spec.Suspend
		case *sourcev1.Bucket:
			got = o.Spec.Suspend
		case *kustomizev1.Kustomization:
			got = o.Spec.Suspend
		}
		if got != want {
			return fmt.Sprintf("%T: suspend is %t, want %t", o, got, want)
		}
		return ""
	}
}

// absent returns a check that the object app is not there.
func (f *fluxClient) absent(t *testing.T, o client.Object) func() string {
	return func() string {
		if err := f.Client.Get(t.Context(), key(f.ns, "app"), o); !apierrors.IsNotFound(err) {
			return fmt.Sprintf("%T app is still there (%v)", o, err)
		}
		return ""
	}
}

// value returns a check of what ConfigMap a holds; nothing if it is not there.
func (f *fluxClient) value(t *testing.T, want string) func() string {
	return func() string {
		if got := holds(t, f.Stage, f.ns, "a"); got != want {
			return fmt.Sprintf("ConfigMap a: got %q, want %q", got, want)
		}
		return ""
	}
}

// secretMade returns a check of a key of Secret name.
func (f *fluxClient) secretMade(t *testing.T, name, item string) func() string {
	return func() string {
		secret := &corev1.Secret{}
		if err := f.Client.Get(t.Context(), key(f.ns, name), secret); err != nil {
			return err.Error()
		}
		if len(secret.Data[item]) == 0 {
			return "Secret " + name + " has no " + item
		}
		return ""
	}
}

// repository makes one with credentials that holds ConfigMap a, and the file
// of the server's authority.
func (f *fluxClient) repository(t *testing.T) (repo *testenv.Repository, ca string) {
	t.Helper()
	repo, err := f.Git.Repository(t.Context(), f.ns+"/app.git")
	if err == nil {
		_, err = repo.Commit(t.Context(), "first", map[string]string{"deploy/a.yaml": configMap("a", "1")})
	}
	ca = filepath.Join(t.TempDir(), "ca.crt")
	if err == nil {
		err = os.WriteFile(ca, f.Git.CA, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return repo, ca
}

// TestFluxClient makes, follows and removes a private repository and what is
// applied from it with the genuine client of Flux, which waits for each step.
func TestFluxClient(t *testing.T) {
	f := newFlux(t)
	repo, ca := f.repository(t)
	f.rows(t, []fluxRow{
		{[]string{"create", "secret", "git", "auth", "--url=" + repo.URL(), "--username=" + f.Git.Username, "--password=" + f.Git.Password, "--ca-crt-file=" + ca}, []string{"auth"}, f.secretMade(t, "auth", "password")},
		{[]string{"create", "secret", "oci", "pull", "--url=registry.example.test", "--username=u", "--password=p"}, []string{"pull"}, f.secretMade(t, "pull", corev1.DockerConfigJsonKey)},
		{[]string{"create", "source", "git", "app", "--url=" + repo.URL(), "--branch=main", "--secret-ref=auth", "--interval=1h"}, []string{"fetched revision: main@sha1:"}, nil},
		{[]string{"create", "kustomization", "app", "--source=GitRepository/app", "--path=./deploy", "--prune", "--interval=1h", "--target-namespace=" + f.ns}, []string{"applied revision main@sha1:"}, f.value(t, "1")},
	})
	if t.Failed() {
		t.FailNow()
	}
	if _, err := repo.Commit(t.Context(), "second", map[string]string{"deploy/a.yaml": configMap("a", "2")}); err != nil {
		t.Fatal(err)
	}
	f.rows(t, []fluxRow{
		{[]string{"reconcile", "kustomization", "app", "--with-source"}, []string{"fetched revision main@sha1:", "applied revision main@sha1:"}, f.value(t, "2")},
		{[]string{"reconcile", "source", "git", "app"}, []string{"fetched revision main@sha1:"}, nil},
		{[]string{"get", "all"}, []string{"gitrepository/app", "kustomization/app", "True"}, nil},
		{[]string{"get", "sources", "all"}, []string{"gitrepository/app", "True"}, nil},
		{[]string{"export", "source", "git", "app"}, []string{"kind: GitRepository", "branch: main"}, nil},
		{[]string{"events", "--for", "GitRepository/app"}, []string{"NewArtifact"}, nil},
		{[]string{"trace", "configmap", "a"}, []string{"GitRepository:", "Kustomization:", "Managed by Flux"}, nil},
		{[]string{"tree", "kustomization", "app"}, []string{"Kustomization/" + f.ns + "/app", "ConfigMap/" + f.ns + "/a"}, nil},
		{[]string{"suspend", "source", "git", "app"}, []string{"suspended"}, f.suspended(t, &sourcev1.GitRepository{}, true)},
		{[]string{"resume", "source", "git", "app"}, []string{"fetched revision main@sha1:"}, f.suspended(t, &sourcev1.GitRepository{}, false)},
		{[]string{"suspend", "kustomization", "app"}, []string{"suspended"}, f.suspended(t, &kustomizev1.Kustomization{}, true)},
		{[]string{"resume", "kustomization", "app"}, []string{"applied revision main@sha1:"}, f.suspended(t, &kustomizev1.Kustomization{}, false)},
		{[]string{"delete", "kustomization", "app", "--silent"}, []string{"deleted"}, f.absent(t, &kustomizev1.Kustomization{})},
		{[]string{"get", "sources", "git"}, []string{"app"}, f.value(t, "")},
		{[]string{"delete", "source", "git", "app", "--silent"}, []string{"deleted"}, f.absent(t, &sourcev1.GitRepository{})},
	})
}

// TestFluxClientFails shows that flux ends with an error when a source cannot
// be fetched: it waits, as it does with Flux, since the Secret may come yet.
// Its table says what is missing.
func TestFluxClientFails(t *testing.T) {
	f := newFlux(t)
	repo, _ := f.repository(t)
	if err := f.Ensure(t.Context(), &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: "app"}, Spec: stage.Source("app", repo.URL(), time.Hour).Spec}); err != nil {
		t.Fatal(err)
	}
	if out, err := f.run(t, "reconcile", "source", "git", "app", "--timeout=5s"); err == nil {
		t.Errorf("flux reconcile of a source without its Secret: no error:\n%s", out)
	}
	out, err := f.run(t, "get", "sources", "git", "app")
	if err != nil || !strings.Contains(out, "git-credentials") || !strings.Contains(out, "False") {
		t.Errorf("flux get: %v, want a line that is not ready and names the Secret:\n%s", err, out)
	}
}

// TestFluxBuildAndDiff builds and compares the files of a checkout, as
// docs/move-from-flux.md says.
func TestFluxBuildAndDiff(t *testing.T) {
	f := newFlux(t)
	repo, ca := f.repository(t)
	f.rows(t, []fluxRow{
		{[]string{"create", "secret", "git", "auth", "--url=" + repo.URL(), "--username=" + f.Git.Username, "--password=" + f.Git.Password, "--ca-crt-file=" + ca}, []string{"auth"}, nil},
		{[]string{"create", "source", "git", "app", "--url=" + repo.URL(), "--branch=main", "--secret-ref=auth", "--interval=1h"}, []string{"fetched revision"}, nil},
		{[]string{"create", "kustomization", "app", "--source=GitRepository/app", "--path=./deploy", "--prune", "--interval=1h", "--target-namespace=" + f.ns}, []string{"applied revision"}, f.value(t, "1")},
	})
	path := "--path=" + filepath.Join(repo.Folder(), "deploy")
	f.rows(t, []fluxRow{
		{[]string{"build", "kustomization", "app", path}, []string{"kind: ConfigMap", "namespace: " + f.ns, "kustomize.toolkit.fluxcd.io/name: app"}, nil},
		{[]string{"diff", "kustomization", "app", path, "--progress-bar=false"}, nil, nil},
	})
	if err := os.WriteFile(filepath.Join(repo.Folder(), "deploy", "a.yaml"), []byte(configMap("a", "2")), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := f.run(t, "diff", "kustomization", "app", path, "--progress-bar=false")
	if err == nil || !strings.Contains(out, "ConfigMap/"+f.ns+"/a drifted") {
		t.Errorf("flux diff of a changed file: got %v, want an error and what differs:\n%s", err, out)
	}
	eventually(t, enough, f.value(t, "1"))
}
