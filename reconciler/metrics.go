package reconciler

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// Register adds c to the metrics that the process serves and returns it; or
// the one that is there under its name, so that two controllers of one kind in
// a process count together. It panics if another metric has the name, which is
// a mistake in the program.
func Register[C prometheus.Collector](c C) C {
	err := metrics.Registry.Register(c)
	if err == nil {
		return c
	}
	if there, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if same, ok := there.ExistingCollector.(C); ok {
			return same
		}
	}
	panic(err)
}
