package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// sink is an API server that takes Events, each in its time.
type sink struct {
	mu   sync.Mutex
	seen map[string]map[string]bool // objects, by type
}

// ServeHTTP implements http.Handler.
func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // what was cut off is no Event
	var e corev1.Event
	if json.Unmarshal(body, &e) == nil {
		s.mu.Lock()
		if s.seen[e.Type] == nil {
			s.seen[e.Type] = map[string]bool{}
		}
		s.seen[e.Type][e.InvolvedObject.Name] = true
		s.mu.Unlock()
	}
	time.Sleep(2 * time.Millisecond)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(body) // the client is gone
}

func (s *sink) count(kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen[kind])
}

// TestWarningsInAFlood sends a Warning after every hundredth of 10,000 Normal
// Events, of which most are dropped: all Warnings arrive.
func TestWarningsInAFlood(t *testing.T) {
	s := &sink{seen: map[string]map[string]bool{}}
	server := httptest.NewServer(s)
	defer server.Close()
	mgr, err := ctrl.NewManager(&rest.Config{Host: server.URL, QPS: -1}, ctrl.Options{Scheme: newScheme(), Metrics: metricsserver.Options{BindAddress: "0"},
		MapperProvider: func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return meta.NewDefaultRESTMapper(nil), nil }})
	if err != nil {
		t.Fatal(err)
	}
	events, err := newRecorder(mgr, "lockstep")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("manager: %v", err)
		}
	}()

	const normal, warnings = 10000, 100
	of := func(kind string, i int) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: fmt.Sprint(kind, i)}}
	}
	for i := range normal {
		events.Event(of("normal", i), corev1.EventTypeNormal, "Created", "made")
		if i%(normal/warnings) == 0 {
			events.Eventf(of("warning", i), corev1.EventTypeWarning, "UpdateFailed", "of %d", i)
		}
	}
	for deadline := time.Now().Add(60 * time.Second); s.count(corev1.EventTypeWarning) < warnings && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
	if got := s.count(corev1.EventTypeWarning); got != warnings {
		t.Errorf("%d of %d Warnings arrived", got, warnings)
	}
	if got := s.count(corev1.EventTypeNormal); got > normal/2 {
		t.Errorf("%d of %d Normal Events arrived: this was no flood", got, normal)
	}
}
