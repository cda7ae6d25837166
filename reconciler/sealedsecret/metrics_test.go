package sealedsecret_test

import (
	"testing"

	dto "github.com/prometheus/client_model/go"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/lockstep-dev/lockstep/reconciler/sealedsecret"
)

// family returns the metrics of a name.
func family(t *testing.T, name string) []*dto.Metric {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return nil
}

// opened returns how many items were opened so far, of both envelopes.
func opened(t *testing.T) float64 {
	t.Helper()
	all := family(t, "lockstep_sealed_items_opened_total")
	if len(all) != 2 {
		t.Fatalf("there are %d envelopes", len(all))
	}
	return all[0].GetCounter().GetValue() + all[1].GetCounter().GetValue()
}

// What was opened is counted, and a restart opens nothing.
func TestOpenedIsCounted(t *testing.T) {
	b := newBench(t)
	stop := b.run()
	before := opened(t)
	b.create(b.sealed("db", b.strict("db"), b.key(), "v"))
	b.synced("db", "True")
	settle()
	stop()
	if got := opened(t) - before; got != 1 {
		t.Errorf("%v items were opened, and there is one", got)
	}
	b.run()
	b.key()
	settle()
	if got := opened(t) - before; got != 1 {
		t.Errorf("after the restart %v items were opened, and there is one", got)
	}
	if got := b.ring.Operations(); got != 0 {
		t.Errorf("after the restart there were %d RSA operations", got)
	}
}

// With the setting the metrics name neither SealedSecrets nor namespaces.
func TestMetricsOmitLabels(t *testing.T) {
	b := newBench(t)
	b.settings = func(c *sealedsecret.Controller) { c.OmitMetricLabels = true }
	b.run()
	ss := b.sealed("db", b.strict("other"), b.key(), "v")
	b.create(ss)
	b.synced("db", "False")
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetValue() == b.ns {
					t.Errorf("%s says %v", f.GetName(), m.GetLabel())
				}
			}
		}
	}
	if n := len(family(t, "sealed_secrets_controller_unseal_errors_total")); n == 0 {
		t.Error("the failure is not counted")
	}
}
