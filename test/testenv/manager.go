package testenv

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// Manager runs controllers against a control plane until the test ends. What
// they ask of the API server is counted.
type Manager struct{ reads, writes atomic.Int64 }

// Reads is how many requests read objects, without watches.
func (m *Manager) Reads() int64 { return m.reads.Load() }

// Writes is how many requests changed objects, Events among them.
func (m *Manager) Writes() int64 { return m.writes.Load() }

// StartManager runs the controllers that setup registers.
func StartManager(t *testing.T, cp *ControlPlane, scheme *runtime.Scheme, setup func(ctrl.Manager) error) *Manager {
	t.Helper()
	m := &Manager{}
	cfg := cp.RestConfig()
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return counted{next, m} })
	again := true // the same controllers run in many tests of a process
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"}, Controller: config.Controller{SkipNameValidation: &again},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := setup(mgr); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("manager: %v", err)
		}
	})
	return m
}

type counted struct {
	next http.RoundTripper
	m    *Manager
}

// RoundTrip implements http.RoundTripper.
func (c counted) RoundTrip(r *http.Request) (*http.Response, error) {
	switch {
	case r.Method != http.MethodGet:
		c.m.writes.Add(1)
	case r.URL.Query().Get("watch") == "":
		c.m.reads.Add(1)
	}
	return c.next.RoundTrip(r)
}
