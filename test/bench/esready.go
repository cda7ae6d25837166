package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
)

// readyWatch sees ExternalSecrets become Ready, on a watch: to list them again
// and again would cost the API server more than what is measured.
type readyWatch struct {
	stop context.CancelFunc

	mu      sync.Mutex
	since   map[string]time.Time // when each was created
	took    map[string]float64   // seconds to Ready
	reason  string               // why one is not, the last
	version string               // of the last event
}

// awaitExternal begins to watch one ExternalSecret, or all with an empty name.
func (b *bench) awaitExternal(ctx context.Context, name string) (*readyWatch, error) {
	ctx, cancel := context.WithCancel(ctx)
	w := &readyWatch{stop: cancel, since: map[string]time.Time{}, took: map[string]float64{}}
	events, err := w.open(ctx, b, name)
	if err != nil {
		cancel()
		return nil, err
	}
	go func() {
		for ctx.Err() == nil {
			for e := range events.ResultChan() {
				w.see(e)
			}
			// The API server ends a watch now and then: it goes on from there.
			if events, err = w.open(ctx, b, name); err != nil {
				return // whoever waits for more runs into its limit
			}
		}
		events.Stop()
	}()
	return w, nil
}

func (w *readyWatch) open(ctx context.Context, b *bench, name string) (watch.Interface, error) {
	o := &client.ListOptions{Namespace: namespace, Raw: &metav1.ListOptions{ResourceVersion: w.version}}
	if name != "" {
		o.Raw.FieldSelector = "metadata.name=" + name
	}
	return b.Client.Watch(ctx, &esv1.ExternalSecretList{}, o)
}

// all waits until n objects have become Ready, and returns the seconds that
// each took, sorted.
func (w *readyWatch) all(ctx context.Context, n int) ([]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	for {
		ready, reason := w.count()
		if ready >= n {
			return w.seconds(), nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%d of %d ExternalSecrets are Ready, one is not because: %s: %w", ready, n, reason, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// count returns how many are Ready, and why one is not.
func (w *readyWatch) count() (ready int, reason string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.took), w.reason
}

// seconds returns those that each took, sorted.
func (w *readyWatch) seconds() []float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Values(w.took))
}

func (w *readyWatch) see(e watch.Event) {
	es, ok := e.Object.(*esv1.ExternalSecret)
	if !ok || e.Type == watch.Deleted {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.version = es.ResourceVersion
	begin, ok := w.since[es.Name]
	if !ok {
		begin = time.Now()
		w.since[es.Name] = begin
	}
	ready := meta.FindStatusCondition(es.GetConditions(), "Ready")
	if ready != nil && ready.Status != metav1.ConditionTrue {
		w.reason = ready.Message
	}
	if _, done := w.took[es.Name]; !done && ready != nil && ready.Status == metav1.ConditionTrue {
		w.took[es.Name] = round(time.Since(begin).Seconds())
	}
}
