package pull

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lockstep-dev/lockstep/externalsecrets/queue"
	"github.com/lockstep-dev/lockstep/reconciler"
)

// watch shows how late reads are. It is one figure for all objects: it stays 0
// as long as everything is read in time, whatever there is.
func watch(q *queue.Queue) {
	reconciler.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "lockstep", Subsystem: "externalsecrets", Name: "oldest_overdue_refresh_seconds",
		Help: "By how much the most overdue refresh of an ExternalSecret is late: one that waits, is on its way, or fails.",
	}, func() float64 {
		return q.Overdue(time.Now()).Seconds() //nolint:forbidigo // a scrape is of now
	}))
}
