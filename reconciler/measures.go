package reconciler

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// Meter is told of the runs of a Loop.
type Meter interface {
	// Took is told that a run for an object has ended, after how long, and with
	// what.
	Took(object types.NamespacedName, took time.Duration, err error)
	// Forget is told of an object that is gone.
	Forget(object types.NamespacedName)
}

// Durations is the histogram that Flux has for objects of a kind, for the
// dashboards that people have.
// Source: https://fluxcd.io/flux/monitoring/metrics/
type Durations struct {
	kind string
	of   *prometheus.HistogramVec
}

// NewDurations returns that of a kind. All kinds have one metric.
func NewDurations(kind string) Durations {
	return Durations{kind, Register(prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "gotk_reconcile_duration_seconds", Help: "The duration in seconds of a GitOps Toolkit resource reconciliation.",
		Buckets: prometheus.ExponentialBucketsRange(10e-3, 1800, 10), // Flux's own
	}, []string{"kind", "name", "namespace"}))}
}

// Took implements Meter.
func (d Durations) Took(object types.NamespacedName, took time.Duration, _ error) {
	d.of.WithLabelValues(d.kind, object.Name, object.Namespace).Observe(took.Seconds())
}

// Forget implements Meter.
func (d Durations) Forget(object types.NamespacedName) {
	d.of.DeleteLabelValues(d.kind, object.Name, object.Namespace)
}

// Measures are the metrics that External Secrets Operator has for each object
// of a kind, for the dashboards and alerts that people have. They are made when
// they are asked for, from the cache and from what was counted here: nothing
// remains of an object that is gone, and nothing is held that is not asked for.
// Source: https://external-secrets.io/latest/api/metrics/
type Measures struct {
	list   func(context.Context) (client.ObjectList, error)
	mu     sync.Mutex
	runs   map[types.NamespacedName]runs
	cond   *prometheus.Desc
	took   *prometheus.Desc
	calls  *prometheus.Desc // nil: not of this kind
	failed *prometheus.Desc
}

// runs are those of one object.
type runs struct {
	total, failed uint64
	took          time.Duration // the last
}

// NewMeasures returns those whose names begin with prefix. What empty returns
// is filled from the cache of reader. With calls, runs are counted too.
func NewMeasures(prefix string, reader client.Reader, empty func() client.ObjectList, calls bool) *Measures {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prefix+"_"+name, help, append([]string{"name", "namespace"}, labels...), nil)
	}
	m := &Measures{
		list: func(ctx context.Context) (client.ObjectList, error) {
			all := empty()
			return all, reader.List(ctx, all, client.UnsafeDisableDeepCopy)
		},
		runs: map[types.NamespacedName]runs{},
		cond: desc("status_condition", "The status condition of the object: 1 for the status that it has", "condition", "status"),
		took: desc("reconcile_duration", "How long the last reconciliation of the object took, in nanoseconds"),
	}
	if calls {
		m.calls = desc("sync_calls_total", "Total number of sync calls")
		m.failed = desc("sync_calls_error", "Total number of sync errors")
	}
	return m
}

// Took implements Meter.
func (m *Measures) Took(object types.NamespacedName, took time.Duration, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.runs[object]
	r.total, r.took = r.total+1, took
	if err != nil {
		r.failed++
	}
	m.runs[object] = r
}

// Forget implements Meter.
func (m *Measures) Forget(object types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.runs, object)
}

// Start serves the metrics until ctx is done. It implements manager.Runnable:
// only the process that works has a cache to look into.
func (m *Measures) Start(ctx context.Context) error {
	if there := Register(m); there != m {
		return nil // another manager of this process has them
	}
	<-ctx.Done()
	metrics.Registry.Unregister(m)
	return nil
}

// Describe implements prometheus.Collector.
func (m *Measures) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.cond, m.took, m.calls, m.failed} {
		if d != nil {
			descs <- d
		}
	}
}

// maxList is how long the cache may take to answer: it is in memory.
const maxList = 5 * time.Second

// Collect implements prometheus.Collector.
func (m *Measures) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), maxList) //nolint:forbidigo // a scrape has no context
	defer cancel()
	all, err := m.list(ctx)
	if err == nil {
		err = apimeta.EachListItem(all, func(o runtime.Object) error {
			m.conditions(o.(Object), out)
			return nil
		})
	}
	if err != nil {
		out <- prometheus.NewInvalidMetric(m.cond, fmt.Errorf("list objects: %w", err))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for object, r := range m.runs {
		out <- prometheus.MustNewConstMetric(m.took, prometheus.GaugeValue, float64(r.took.Nanoseconds()), object.Name, object.Namespace)
		if m.calls != nil {
			out <- prometheus.MustNewConstMetric(m.calls, prometheus.CounterValue, float64(r.total), object.Name, object.Namespace)
			out <- prometheus.MustNewConstMetric(m.failed, prometheus.CounterValue, float64(r.failed), object.Name, object.Namespace)
		}
	}
}

// conditions has a series for each status that a condition can have: an alert
// asks for status="False" == 1.
func (m *Measures) conditions(o Object, out chan<- prometheus.Metric) {
	for _, c := range o.GetConditions() {
		for _, status := range []metav1.ConditionStatus{metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown} {
			value := 0.0
			if c.Status == status {
				value = 1
			}
			if status == metav1.ConditionUnknown && value == 0 {
				continue // External Secrets Operator has the other two
			}
			out <- prometheus.MustNewConstMetric(m.cond, prometheus.GaugeValue, value, o.GetName(), o.GetNamespace(), c.Type, string(status))
		}
	}
}
