package sealedsecret

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/reconciler"
)

// metrics are those of Sealed Secrets, by the same names, for the dashboards
// and alerts that people have.
// Source: pkg/controller/metrics.go of bitnami-labs/sealed-secrets v0.36.6.
type metrics struct {
	requests   prometheus.Counter
	errors     *prometheus.CounterVec
	conditions *prometheus.GaugeVec
}

// errUnmanaged says that a Secret is in the way that is not ours.
var errUnmanaged = errors.New("is not managed by SealedSecret")

func newMetrics() metrics {
	const namespace = "sealed_secrets_controller"
	return metrics{
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

// failed counts an error of apply.
func (m metrics) failed(ss *bitnamiv1alpha1.SealedSecret, err error) {
	reason := "update"
	if e, ok := errors.AsType[*reconciler.Error](err); ok && e.Reason == bitnamiv1alpha1.ReasonUnsealFailed {
		reason = "unseal"
	}
	if errors.Is(err, errUnmanaged) {
		reason = "unmanaged"
	}
	m.errors.WithLabelValues(reason, ss.Namespace).Inc()
}

// observe tells the conditions of an object.
func (m metrics) observe(ss *bitnamiv1alpha1.SealedSecret) {
	values := map[corev1.ConditionStatus]float64{corev1.ConditionFalse: -1, corev1.ConditionTrue: 1}
	m.gone(types.NamespacedName{Namespace: ss.Namespace, Name: ss.Name})
	for _, c := range ss.Status.Conditions {
		m.conditions.WithLabelValues(ss.Namespace, ss.Name, c.Type, ss.Labels["app.kubernetes.io/instance"]).Set(values[c.Status])
	}
}

func (m metrics) gone(key types.NamespacedName) {
	m.conditions.DeletePartialMatch(prometheus.Labels{"namespace": key.Namespace, "name": key.Name})
}
