package reconciler_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/lockstep-dev/lockstep/reconciler"
)

// listed is a cache with two objects of some kind.
type listed struct {
	client.Reader

	err error
}

func (l listed) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	object := func(name string, ready metav1.ConditionStatus) (o kustomizev1.Kustomization) {
		o.Name, o.Namespace = name, "apps"
		o.Status.Conditions = []metav1.Condition{{Type: "Ready", Status: ready}}
		return o
	}
	into.(*kustomizev1.KustomizationList).Items = []kustomizev1.Kustomization{object("good", "True"), object("bad", "False"), object("new", "Unknown")}
	return l.err
}

func measures(prefix string, l listed) *reconciler.Measures {
	return reconciler.NewMeasures(prefix, l, func() client.ObjectList { return &kustomizev1.KustomizationList{} }, true)
}

func TestMeasures(t *testing.T) {
	m := measures("externalsecret", listed{})
	good, bad := types.NamespacedName{Namespace: "apps", Name: "good"}, types.NamespacedName{Namespace: "apps", Name: "bad"}
	m.Took(good, time.Second, nil)
	m.Took(good, 2*time.Microsecond, nil)
	m.Took(bad, time.Second, errors.New("denied"))
	m.Forget(bad)
	want := `
# HELP externalsecret_reconcile_duration How long the last reconciliation of the object took, in nanoseconds
# TYPE externalsecret_reconcile_duration gauge
externalsecret_reconcile_duration{name="good",namespace="apps"} 2000
# HELP externalsecret_status_condition The status condition of the object: 1 for the status that it has
# TYPE externalsecret_status_condition gauge
externalsecret_status_condition{condition="Ready",name="bad",namespace="apps",status="False"} 1
externalsecret_status_condition{condition="Ready",name="bad",namespace="apps",status="True"} 0
externalsecret_status_condition{condition="Ready",name="good",namespace="apps",status="False"} 0
externalsecret_status_condition{condition="Ready",name="good",namespace="apps",status="True"} 1
externalsecret_status_condition{condition="Ready",name="new",namespace="apps",status="False"} 0
externalsecret_status_condition{condition="Ready",name="new",namespace="apps",status="True"} 0
externalsecret_status_condition{condition="Ready",name="new",namespace="apps",status="Unknown"} 1
# HELP externalsecret_sync_calls_error Total number of sync errors
# TYPE externalsecret_sync_calls_error counter
externalsecret_sync_calls_error{name="good",namespace="apps"} 0
# HELP externalsecret_sync_calls_total Total number of sync calls
# TYPE externalsecret_sync_calls_total counter
externalsecret_sync_calls_total{name="good",namespace="apps"} 2
`
	if err := testutil.CollectAndCompare(m, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

// TestMeasuresWithoutCache: a scrape says that it is not complete.
func TestMeasuresWithoutCache(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(measures("broken", listed{err: errors.New("cache is not started")}))
	if _, err := r.Gather(); err == nil || !strings.Contains(err.Error(), "cache is not started") {
		t.Errorf("error: got %v, want what the cache says", err)
	}
}

// TestMeasuresOfTheOneThatWorks: metrics are there as long as a manager runs,
// and those of another one begin when it has ended.
func TestMeasuresOfTheOneThatWorks(t *testing.T) {
	served := func() (n int) {
		all, err := metrics.Registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if strings.HasPrefix(f.GetName(), "turns_") {
				n++
			}
		}
		return n
	}
	for turn := range 2 {
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- measures("turns", listed{}).Start(ctx) }()
		for deadline := time.Now().Add(10 * time.Second); served() == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("turn %d: no metrics", turn)
			}
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if got := served(); got != 0 {
			t.Errorf("turn %d: %d metrics remain after the end", turn, got)
		}
	}
}

func TestDurations(t *testing.T) {
	d := reconciler.NewDurations("Kustomization")
	object := types.NamespacedName{Namespace: "apps", Name: "myapp"}
	count := func() (n uint64) {
		all, err := metrics.Registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if f.GetName() == "gotk_reconcile_duration_seconds" {
				for _, m := range f.GetMetric() {
					n += m.GetHistogram().GetSampleCount()
				}
			}
		}
		return n
	}
	d.Took(object, 30*time.Millisecond, nil)
	reconciler.NewDurations("GitRepository").Took(object, time.Second, errors.New("refused"))
	if got := count(); got != 2 {
		t.Errorf("observations: got %d, want 2", got)
	}
	d.Forget(object)
	if got := count(); got != 1 {
		t.Errorf("observations of what is left: got %d, want 1", got)
	}
}
