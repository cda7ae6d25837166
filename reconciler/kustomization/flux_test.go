package kustomization_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/test/testenv"
)

// TestFluxClient runs the genuine client of Flux against the controller.
func TestFluxClient(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the genuine flux; not under -short")
	}
	path, err := testenv.Binary(t.Context(), "flux", os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	b := start(t)
	kubeconfig := b.kubeconfig()
	b.push("main@sha1:1", map[string]string{"a.yaml": configMap("a", "one"), "web.yaml": deployment})
	b.repository("main@sha1:1")
	b.create("app", func(s *kustomizev1.KustomizationSpec) { s.Wait = true })
	b.ready("app", "True")

	flux := func(args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, path, append(args, "--kubeconfig", kubeconfig, "--namespace", b.ns)...)
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("flux %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	steps := []struct {
		name string
		args []string
		want []string
	}{
		{"get", []string{"get", "kustomizations"}, []string{"app", "main@sha1:1", "True", "Applied revision: main@sha1:1"}},
		{"getSources", []string{"get", "sources", "git"}, []string{"repo", "main@sha1:1"}},
		{"reconcile", []string{"reconcile", "kustomization", "app"}, []string{"applied revision main@sha1:1"}},
		{"suspend", []string{"suspend", "kustomization", "app"}, []string{"kustomization suspended"}},
		{"resume", []string{"resume", "kustomization", "app"}, []string{"kustomization resumed", "applied revision main@sha1:1"}},
		{"tree", []string{"tree", "kustomization", "app"}, []string{"Kustomization/" + b.ns + "/app", "ConfigMap/" + b.ns + "/a", "Deployment/" + b.ns + "/web"}},
		{"trace", []string{"trace", "configmap", "a"}, []string{"Kustomization:", "app", "GitRepository:", "repo", "Managed by Flux"}},
		{"events", []string{"events", "--for", "Kustomization/app"}, []string{"ReconciliationSucceeded", "Applied revision: main@sha1:1"}},
		{"export", []string{"export", "kustomization", "app"}, []string{"kind: Kustomization", "name: app", "targetNamespace: " + b.ns}},
		{"create", []string{"create", "kustomization", "made", "--source=GitRepository/repo", "--path=./", "--prune", "--interval=1h", "--target-namespace=" + b.ns, "--label=x=y", "--export"}, []string{"name: made", "prune: true"}},
	}
	for _, s := range steps {
		t.Run(s.name, func(t *testing.T) {
			out := flux(s.args...)
			for _, w := range s.want {
				if !strings.Contains(out, w) {
					t.Errorf("flux %s: want %q in:\n%s", strings.Join(s.args, " "), w, out)
				}
			}
		})
	}
	t.Run("delete", func(t *testing.T) {
		flux("delete", "kustomization", "app", "--silent")
		eventually(t, 10*time.Second, "the objects to be deleted", func() bool { return b.gone("a") })
	})
}

// kubeconfig writes one for the cluster and returns its path.
func (b *bench) kubeconfig() string {
	b.t.Helper()
	rest := cluster.Get(b.t).RestConfig()
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: rest.Host, CertificateAuthorityData: rest.CAData}
	config.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: rest.BearerToken, ClientCertificateData: rest.CertData, ClientKeyData: rest.KeyData}
	config.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	config.CurrentContext = "x"
	path := filepath.Join(b.t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		b.t.Fatal(err)
	}
	return path
}

// repository makes the object of the source "repo", as its controller would.
func (b *bench) repository(revision string) {
	b.t.Helper()
	repo := &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "repo"}}
	repo.Spec = sourcev1.GitRepositorySpec{URL: "https://git.example.org/repo", Interval: metav1.Duration{Duration: time.Hour}}
	if err := b.Create(b.t.Context(), repo); err != nil {
		b.t.Fatal(err)
	}
	before := repo.DeepCopy()
	repo.Status.ObservedGeneration = repo.Generation
	repo.Status.Artifact = &meta.Artifact{Path: "none", URL: "http://localhost/none", Revision: revision, Digest: "sha256:" + strings.Repeat("0", 64), LastUpdateTime: metav1.Now()}
	apimeta.SetStatusCondition(&repo.Status.Conditions, metav1.Condition{Type: meta.ReadyCondition, Status: metav1.ConditionTrue, Reason: "Succeeded", Message: "stored artifact for revision '" + revision + "'"})
	if err := b.Status().Patch(b.t.Context(), repo, client.MergeFrom(before)); err != nil {
		b.t.Fatal(err)
	}
}
