package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/test/stage"
)

// syncObjects is how many objects each Kustomization of sync-create has.
const syncObjects = 4

// syncTimeout bounds the wait for all Kustomizations.
const syncTimeout = 20 * time.Minute

// syncApp is what Flux's own benchmark applies: a Deployment without replicas,
// a ServiceAccount, a Service and an Ingress.
const syncApp = `apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, namespace: apps}
spec:
  replicas: 0
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec: {containers: [{name: app, image: example.com/app:1}]}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: %[1]s, namespace: apps}
---
apiVersion: v1
kind: Service
metadata: {name: %[1]s, namespace: apps}
spec: {selector: {app: %[1]s}, ports: [{port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: %[1]s, namespace: apps}
spec: {rules: [{host: %[1]s.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: %[1]s, port: {number: 80}}}}]}}]}
`

// syncPrepare makes a repository with a folder for each of size Kustomizations,
// and its source.
func (b *bench) syncPrepare(ctx context.Context, manifest string) error {
	files := map[string]string{}
	for i := range b.size {
		files[fmt.Sprintf("app-%d/app.yaml", i)] = fmt.Sprintf(manifest, fmt.Sprintf("app-%d", i))
	}
	return b.syncRepository(ctx, files)
}

// syncKustomization is the one for folder i.
func syncKustomization(i int) *kustomizev1.Kustomization {
	ks := stage.Sync(fmt.Sprintf("app-%d", i), "sync", fmt.Sprintf("./app-%d", i))
	ks.Spec.Wait, ks.Spec.Interval.Duration = true, time.Hour
	return ks
}

// readyTimes notes when each Kustomization becomes Ready.
type readyTimes struct {
	at   map[string]time.Time
	done chan error
	stop context.CancelFunc
}

// readies begins to note, until n are Ready.
func (b *bench) readies(ctx context.Context, n int) (*readyTimes, error) {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	r := &readyTimes{at: map[string]time.Time{}, done: make(chan error, 1), stop: cancel}
	w, err := b.watchSyncs(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	go func() { r.done <- b.note(ctx, r, w, n) }()
	return r, nil
}

func (b *bench) watchSyncs(ctx context.Context) (watch.Interface, error) {
	return b.Client.Watch(ctx, &kustomizev1.KustomizationList{}, client.InNamespace(stage.FluxNamespace))
}

// note returns when n are Ready. The API server ends a watch whose client is
// slow, as on a busy machine: it begins again, with what is there, so that no
// Kustomization is missed.
func (b *bench) note(ctx context.Context, r *readyTimes, w watch.Interface, n int) error {
	for {
		for e := range w.ResultChan() {
			ks, ok := e.Object.(*kustomizev1.Kustomization)
			if !ok || !apimeta.IsStatusConditionTrue(ks.Status.Conditions, meta.ReadyCondition) {
				continue
			}
			if _, known := r.at[ks.Name]; !known {
				r.at[ks.Name] = time.Now()
			}
			if len(r.at) == n {
				w.Stop()
				return nil
			}
		}
		var err error
		if w, err = b.watchSyncs(ctx); err != nil {
			return fmt.Errorf("%d of %d Kustomizations are Ready: %w", len(r.at), n, err)
		}
	}
}

func (r *readyTimes) wait(ctx context.Context) error {
	defer r.stop()
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// syncCreate creates size Kustomizations of 4 objects each, which wait for
// their health, and measures until the last is Ready.
func syncCreate(ctx context.Context, b *bench) error {
	if err := b.syncPrepare(ctx, syncApp); err != nil {
		return err
	}
	m, err := b.meter(ctx)
	if err != nil {
		return err
	}
	r, err := b.readies(ctx, b.size)
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := b.create(ctx); err != nil {
		return err
	}
	created := time.Since(begin)
	if err := r.wait(ctx); err != nil {
		return err
	}
	all := time.Since(begin)
	time.Sleep(2 * time.Second) // for the events and the audit log
	s, err := m.stop(ctx)
	if err != nil {
		return err
	}
	b.record(s, syncObjects*b.size)
	var took []float64
	for _, at := range r.at {
		took = append(took, at.Sub(begin).Seconds())
	}
	slices.Sort(took)
	b.result.ReadyP50, b.result.ReadyP99, b.result.ReadyAll = quantile(took, 0.5), quantile(took, 0.99), round(all.Seconds())
	b.result.More["create_s"], b.result.More["ready_first_s"] = round(created.Seconds()), quantile(took, 0)
	b.result.More["requests_per_kustomization"] = round(perKustomization(s) / float64(b.size))
	return nil
}

// perKustomization counts the controller's requests but for lists, watches and
// its lease.
func perKustomization(s spent) float64 {
	n := 0
	for verb, count := range s.verbs {
		switch verb {
		case "list", "watch", "lease":
		default:
			n += count
		}
	}
	return float64(n)
}

const syncConfigMap = `apiVersion: v1
kind: ConfigMap
metadata: {name: %[1]s, namespace: apps}
data: {key: ours}
`

// syncDrift edits an object, again and again, and measures until it is put
// right. Each run edits another object, as one that is edited without end is
// left in peace.
func syncDrift(ctx context.Context, b *bench) error {
	if err := b.syncAll(ctx, syncConfigMap); err != nil {
		return err
	}
	var took []float64
	for i := range b.runs {
		cm := &corev1.ConfigMap{}
		at := types.NamespacedName{Namespace: namespace, Name: fmt.Sprintf("app-%d", i%b.size)}
		if err := b.Client.Get(ctx, at, cm); err != nil {
			return err
		}
		cm.Data["key"] = "edited"
		begin := time.Now()
		if err := b.Client.Update(ctx, cm); err != nil {
			return err
		}
		if err := stage.Until(ctx, 2*time.Millisecond, "the edit to be put right", func() (bool, error) {
			err := b.Client.Get(ctx, at, cm)
			return err == nil && cm.Data["key"] == "ours", err
		}); err != nil {
			return err
		}
		took = append(took, time.Since(begin).Seconds())
	}
	b.times(took)
	return nil
}

// times puts the times of runs into the result.
func (b *bench) times(took []float64) {
	slices.Sort(took)
	b.result.ReadyP50, b.result.ReadyP99, b.result.ReadyAll = quantile(took, 0.5), quantile(took, 0.99), quantile(took, 1)
}

// syncAll creates all Kustomizations and waits until they are Ready.
func (b *bench) syncAll(ctx context.Context, manifest string) error {
	if err := b.syncPrepare(ctx, manifest); err != nil {
		return err
	}
	return b.syncCreated(ctx)
}

// syncDepends makes a chain in which each Kustomization depends on the one
// before, and measures from Ready of a dependency to Ready of its dependent.
func syncDepends(ctx context.Context, b *bench) error {
	if err := b.syncPrepare(ctx, syncConfigMap); err != nil {
		return err
	}
	r, err := b.readies(ctx, b.size)
	if err != nil {
		return err
	}
	for i := b.size - 1; i >= 0; i-- {
		ks := syncKustomization(i)
		if i > 0 {
			ks.Spec.DependsOn = []kustomizev1.DependencyReference{{Name: fmt.Sprintf("app-%d", i-1)}}
		}
		if err := b.Client.Create(ctx, ks); err != nil {
			return err
		}
	}
	if err := r.wait(ctx); err != nil {
		return err
	}
	var took []float64
	for i := 1; i < b.size; i++ {
		took = append(took, r.at[fmt.Sprintf("app-%d", i)].Sub(r.at[fmt.Sprintf("app-%d", i-1)]).Seconds())
	}
	b.times(took)
	fmt.Fprintf(os.Stderr, "%d links\n", len(took))
	return nil
}
