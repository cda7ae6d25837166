package pull

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lockstep-dev/lockstep/externalsecrets/queue"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/reconciler"
)

// calls shows the requests to services, as External Secrets Operator does.
// Source: https://external-secrets.io/latest/api/metrics/
type calls struct{ *prometheus.Desc }

func newCalls() *calls {
	return &calls{prometheus.NewDesc("externalsecret_provider_api_calls_count", "Number of API calls towards the secret provider", []string{"provider", "call", "status"}, nil)}
}

// Describe implements prometheus.Collector.
func (c *calls) Describe(descs chan<- *prometheus.Desc) { descs <- c.Desc }

// Collect implements prometheus.Collector.
func (c *calls) Collect(out chan<- prometheus.Metric) {
	for call, n := range providers.Calls() {
		status := "success"
		if call.Failed {
			status = "error"
		}
		out <- prometheus.MustNewConstMetric(c.Desc, prometheus.CounterValue, float64(n), call.Provider, call.Name, status)
	}
}

// watch shows how late reads are. It is one figure for all objects: it stays 0
// as long as everything is read in time, whatever there is.
func watch(q *queue.Queue) {
	reconciler.Register(newCalls())
	reconciler.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "lockstep", Subsystem: "externalsecrets", Name: "oldest_overdue_refresh_seconds",
		Help: "By how much the most overdue refresh of an ExternalSecret is late: one that waits, is on its way, or fails.",
	}, func() float64 {
		return q.Overdue(time.Now()).Seconds() //nolint:forbidigo // a scrape is of now
	}))
}
