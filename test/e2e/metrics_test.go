package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/test/stage"
)

// TestPeersMetrics: the metrics that dashboards and alerts for Flux and
// External Secrets Operator ask for are there, by name and labels, follow the
// objects, and go with them.
func TestPeersMetrics(t *testing.T) {
	c := newTenant(t)
	repo, err := c.s.Git.Repository(t.Context(), "public/"+c.ns+".git")
	if err != nil {
		t.Fatal(err)
	}
	manifest := fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: metrics, namespace: %s}\n", c.ns)
	if _, err := repo.Commit(t.Context(), "first", map[string]string{"app/a.yaml": manifest}); err != nil {
		t.Fatal(err)
	}
	if err := c.s.Ensure(t.Context(), c.s.GitCredentials(), stage.Source(c.ns, repo.URL(), time.Minute), stage.Sync(c.ns, c.ns, "./app")); err != nil {
		t.Fatal(err)
	}
	eventually(t, enough, func() string {
		return notReady(t, c.s, &kustomizev1.Kustomization{}, key(stage.FluxNamespace, c.ns))
	})
	labels := fmt.Sprintf(`name="db",namespace=%q`, c.ns)
	condition := func(status string, value int) string {
		return fmt.Sprintf("externalsecret_status_condition{condition=\"Ready\",%s,status=%q} %d\n", labels, status, value)
	}
	c.scraped(
		condition("True", 1), condition("False", 0),
		"externalsecret_sync_calls_total{"+labels+"} ", "externalsecret_sync_calls_error{"+labels+"} 0\n",
		"externalsecret_reconcile_duration{"+labels+"} ",
		fmt.Sprintf("secretstore_status_condition{condition=\"Ready\",name=\"vault\",namespace=%q,status=\"True\"} 1\n", c.ns),
		`externalsecret_provider_api_calls_count{call="ReadSecretData",provider="HashiCorp/Vault",status="success"} `,
		fmt.Sprintf("gotk_reconcile_duration_seconds_count{kind=\"GitRepository\",name=%q,namespace=\"flux-system\"} ", c.ns),
		fmt.Sprintf("gotk_reconcile_duration_seconds_count{kind=\"Kustomization\",name=%q,namespace=\"flux-system\"} ", c.ns),
		`controller_runtime_reconcile_total{controller="kustomization",result="success"} `,
		`workqueue_depth{controller="externalsecret"`,
	)
	c.change(func(es *esv1.ExternalSecret) { es.Spec.Data[0].RemoteRef.Property = "absent" })
	c.failed("absent")
	c.scraped(condition("True", 0), condition("False", 1), "externalsecret_sync_calls_error{"+labels+"} 1\n")

	if err := c.s.Client.Delete(t.Context(), c.external()); err != nil {
		t.Fatal(err)
	}
	eventually(t, enough, func() string {
		if text := c.metrics(); strings.Contains(text, labels) {
			return "metrics of the ExternalSecret that is gone are still there"
		}
		return ""
	})
	noLeak(t, c.s, c.canary, key(c.ns, "db"))
}

func (c *tenant) metrics() string {
	c.t.Helper()
	text, err := c.s.Controller.MetricsText(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return text
}

// scraped waits until the metrics have all of want.
func (c *tenant) scraped(want ...string) {
	c.t.Helper()
	eventually(c.t, enough, func() string {
		text := c.metrics()
		for _, w := range want {
			if !strings.Contains(text, w) {
				return "the metrics lack " + w
			}
		}
		return ""
	})
}
