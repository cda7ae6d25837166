package sealedsecret

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/reconciler"
	"github.com/lockstep-dev/lockstep/sealer"
)

// metrics are those of Sealed Secrets, by the same names, for the dashboards
// and alerts that people have.
// Source: pkg/controller/metrics.go of bitnami-labs/sealed-secrets v0.36.6.
type metrics struct {
	requests   prometheus.Counter
	errors     *prometheus.CounterVec
	conditions *prometheus.GaugeVec
	opened     *prometheus.CounterVec
	omit       bool // names and namespaces
}

// The labels of opened.
const (
	envelope1 = "1"
	envelope2 = "2"
)

// errUnmanaged says that a Secret is in the way that is not ours.
var errUnmanaged = errors.New("is not managed by SealedSecret")

// newMetrics registers the metrics. With omit they tell of no SealedSecret by
// itself: their names say what secrets there are.
func newMetrics(omit bool) metrics {
	const namespace = "sealed_secrets_controller"
	opened := reconciler.Register(prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "lockstep_sealed_items_opened_total", Help: "Items of SealedSecrets that were opened, or could not be, by envelope. A SealedSecret that is as it should be is not opened.",
	}, []string{"envelope"}))
	for _, each := range []string{envelope1, envelope2} {
		opened.WithLabelValues(each).Add(0) // told from the start
	}
	return metrics{
		omit:   omit,
		opened: opened,
		requests: reconciler.Register(prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Name: "unseal_requests_total", Help: "Total number of sealed secret unseal requests",
		})),
		errors: reconciler.Register(prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "unseal_errors_total", Help: "Total number of sealed secret unseal errors by reason",
		}, []string{"reason", "namespace"})),
		conditions: reconciler.Register(prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: namespace, Name: "condition_info", Help: "Current SealedSecret condition status. Values are -1 (false), 0 (unknown or absent), 1 (true)",
		}, []string{"namespace", "name", "condition", "ss_app_kubernetes_io_instance"})),
	}
}

// count counts an item that is about to be opened; nothing where there are no
// metrics, as in the client.
func (m metrics) count(value string) {
	if m.opened == nil {
		return
	}
	envelope := envelope1
	if sealer.IsEnvelope2(value) {
		envelope = envelope2
	}
	m.opened.WithLabelValues(envelope).Inc()
}

// failed counts an error of apply.
func (m metrics) failed(ss *bitnamiv1alpha1.SealedSecret, err error) {
	reason := "update"
	if e, ok := errors.AsType[*reconciler.Error](err); ok && e.Reason == bitnamiv1alpha1.ReasonUnsealFailed {
		reason = "unseal"
	}
	if errors.Is(err, errUnmanaged) {
		reason = "unmanaged"
	}
	namespace := ss.Namespace
	if m.omit {
		namespace = ""
	}
	m.errors.WithLabelValues(reason, namespace).Inc()
}

// observe tells the conditions of an object.
func (m metrics) observe(ss *bitnamiv1alpha1.SealedSecret) {
	if m.omit {
		return
	}
	values := map[corev1.ConditionStatus]float64{corev1.ConditionFalse: -1, corev1.ConditionTrue: 1}
	m.gone(types.NamespacedName{Namespace: ss.Namespace, Name: ss.Name})
	for _, c := range ss.Status.Conditions {
		m.conditions.WithLabelValues(ss.Namespace, ss.Name, c.Type, ss.Labels["app.kubernetes.io/instance"]).Set(values[c.Status])
	}
}

func (m metrics) gone(key types.NamespacedName) {
	m.conditions.DeletePartialMatch(prometheus.Labels{"namespace": key.Namespace, "name": key.Name})
}
