package chart

import (
	"context"
	"encoding/pem"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/kube"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/lockstep-dev/lockstep/test/testenv"
)

// The cluster starts without CRDs: Helm installs those of the chart. Its nodes
// run Pods for show; the controller itself is a process of the test.
var cluster = testenv.Share(func(t testing.TB) (*testenv.ControlPlane, error) {
	return testenv.StartControlPlane(t.Context(), testenv.Options{Nodes: 1, Audit: true})
})

func TestMain(m *testing.M) { testenv.Main(m) }

// release is the name of the release, and so of what the chart makes.
const release = "lockstep"

// patience is how long a test waits for what takes a second on an idle machine.
const patience = 90 * time.Second

// TestInstall takes the chart through its life: installed by Helm into a
// namespace that only takes restricted Pods, a controller with exactly the
// rights of its ServiceAccount at work on every kind, and uninstalled.
func TestInstall(t *testing.T) {
	cp := cluster.Get(t)
	canary := testenv.NewCanary(t)
	ns := restrictedNamespace(t, cp)
	helm := install(t, cp, ns)

	deployment, err := cp.Client.AppsV1().Deployments(ns).Get(t.Context(), release, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := startController(t, cp, deployment)
	c.waitUntilReady(t)
	certificate := c.certificate(t)
	if block, _ := pem.Decode(certificate); block == nil || block.Type != "CERTIFICATE" {
		t.Fatalf("/v1/cert.pem serves %q, want a certificate", certificate)
	}
	keys := sealingKeys(t, cp, ns)
	if keys != 1 {
		t.Errorf("%d sealing keys in namespace %s, want 1", keys, ns)
	}

	w := newWork(t, cp, ns, canary)
	w.push(t, certificate)
	w.allow(t)
	w.sync(t, "platform", "")
	w.sync(t, "tenant", "deployer")
	w.waitForObjects(t)
	w.editSecrets(t)
	w.otherKinds(t)
	w.remove(t)

	c.stop(t)
	everyRightIsUsed(t, usedRights(t, cp, ns))
	log := c.log(t)
	for line := range strings.Lines(log) {
		if l := strings.ToLower(line); strings.Contains(l, "forbidden") || strings.Contains(l, "cannot list") {
			t.Errorf("the chart does not grant what the controller needs: %s", line)
		}
	}
	canary.NotIn(t, "the controller's log", []byte(log))

	helm.uninstall(t)
	leftovers(t, cp, ns)
	if got := sealingKeys(t, cp, ns); got != keys {
		t.Errorf("%d sealing keys after the uninstall, want %d: what Git holds must stay readable", got, keys)
	}
}

func restrictedNamespace(t *testing.T, cp *testenv.ControlPlane) string {
	t.Helper()
	ns := cp.Namespace(t)
	patch := []byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}}`)
	if _, err := cp.Client.CoreV1().Namespaces().Patch(t.Context(), ns, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	return ns
}

// helmRelease is an installed release.
type helmRelease struct {
	config *action.Configuration
}

func install(t *testing.T, cp *testenv.ControlPlane, ns string) helmRelease {
	t.Helper()
	kubeconfig, cache := cp.Kubeconfig(), t.TempDir()
	flags := genericclioptions.NewConfigFlags(true)
	flags.KubeConfig, flags.CacheDir, flags.Namespace = &kubeconfig, &cache, &ns
	config := action.NewConfiguration()
	if err := config.Init(flags, ns, "secret"); err != nil {
		t.Fatal(err)
	}
	chart, err := loader.Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	install := action.NewInstall(config)
	install.ReleaseName, install.Namespace, install.Timeout = release, ns, patience
	// Waits for the Deployment to be available, so for its Pods to be admitted.
	install.WaitStrategy = kube.StatusWatcherStrategy
	values := map[string]any{"sync": map[string]any{"clusterRole": "cluster-admin"}}
	if _, err := install.RunWithContext(t.Context(), chart, values); err != nil {
		t.Fatalf("install: %v", err)
	}
	return helmRelease{config: config}
}

func (h helmRelease) uninstall(t *testing.T) {
	t.Helper()
	uninstall := action.NewUninstall(h.config)
	uninstall.WaitStrategy, uninstall.Timeout = kube.StatusWatcherStrategy, patience
	if _, err := uninstall.Run(release); err != nil {
		t.Fatalf("uninstall: %v", err)
	}
}

// leftovers fails t if something that the chart made is still there. CRDs stay,
// as Helm wants it: with them every object of their kinds would go.
func leftovers(t *testing.T, cp *testenv.ControlPlane, ns string) {
	t.Helper()
	selector := metav1.ListOptions{LabelSelector: "app.kubernetes.io/instance=" + release}
	for _, r := range []schema.GroupVersionResource{
		appsv1.SchemeGroupVersion.WithResource("deployments"),
		corev1.SchemeGroupVersion.WithResource("services"),
		corev1.SchemeGroupVersion.WithResource("serviceaccounts"),
		rbacv1.SchemeGroupVersion.WithResource("roles"),
		rbacv1.SchemeGroupVersion.WithResource("rolebindings"),
		rbacv1.SchemeGroupVersion.WithResource("clusterroles"),
		rbacv1.SchemeGroupVersion.WithResource("clusterrolebindings"),
		{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"},
	} {
		list, err := cp.Dynamic.Resource(r).List(t.Context(), selector)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range list.Items {
			t.Errorf("%s %s is left after the uninstall", r.Resource, o.GetName())
		}
	}
	crds := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	if _, err := cp.Dynamic.Resource(crds).Get(t.Context(), "sealedsecrets.bitnami.com", metav1.GetOptions{}); err != nil {
		t.Errorf("the CRDs must stay: %v", err)
	}
	releases, err := cp.Client.CoreV1().Secrets(ns).List(t.Context(), metav1.ListOptions{LabelSelector: "owner=helm"})
	if err != nil || len(releases.Items) > 0 {
		t.Errorf("%d Secrets of Helm are left after the uninstall (%v)", len(releases.Items), err)
	}
}

func sealingKeys(t *testing.T, cp *testenv.ControlPlane, ns string) int {
	t.Helper()
	keys, err := cp.Client.CoreV1().Secrets(ns).List(t.Context(), metav1.ListOptions{LabelSelector: "sealedsecrets.bitnami.com/sealed-secrets-key=active"})
	if err != nil {
		t.Fatal(err)
	}
	return len(keys.Items)
}

// get returns the body of a URL of the controller, or "" unless it is OK.
func get(ctx context.Context, url string) string {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return ""
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return ""
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return ""
	}
	return string(body)
}

// eventually calls ok until it is true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s", patience, what)
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("waiting for %s: %v", what, t.Context().Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}
