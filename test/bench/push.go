package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
)

// runTimeout bounds one run.
const runTimeout = 5 * time.Minute

// pushToReady measures, again and again, a commit with all apps: from the push,
// with a reconcile request right behind it, to each Secret, and to each
// workload Available. Between the runs a commit removes the apps.
func pushToReady(ctx context.Context, b *bench) error {
	repo, err := b.prepare(ctx)
	if err != nil {
		return err
	}
	files, err := b.files(ctx)
	if err != nil {
		return err
	}
	empty := map[string]string{"apps/kustomization.yaml": "resources: []\n"}
	_, idle, _, err := b.Controller.Usage()
	if err != nil {
		return err
	}
	var secrets, available, all, allSecrets []float64
	for i := range b.runs {
		r, err := b.push(ctx, repo.Commit, fmt.Sprintf("run %d", i+1), files)
		if err != nil {
			return err
		}
		secrets, available = append(secrets, r.secrets...), append(available, r.available...)
		all, allSecrets = append(all, r.available[len(r.available)-1]), append(allSecrets, r.secrets[len(r.secrets)-1])
		fmt.Fprintf(os.Stderr, "run %2d: last Secret after %.3f s, last workload after %.3f s\n", i+1, allSecrets[i], all[i])
		if i == 0 {
			b.record(r.spent, (applied+made)*b.size)
			b.result.More["applies_per_applied_object"] = round(float64(r.spent.applies()) / float64(applied*b.size))
		}
		if err := b.clear(ctx, repo.Commit, empty); err != nil {
			return err
		}
	}
	_, rss, peak, err := b.Controller.Usage()
	if err != nil {
		return err
	}
	for _, sorted := range [][]float64{secrets, available, all, allSecrets} {
		slices.Sort(sorted)
	}
	r := &b.result
	r.ReadyP50, r.ReadyP99, r.ReadyAll = quantile(available, 0.5), quantile(available, 0.99), quantile(all, 0.5)
	r.RSSPeak = round(float64(peak) / (1 << 20))
	r.More["secret_p50_s"], r.More["secret_p95_s"], r.More["secret_p99_s"] = quantile(secrets, 0.5), quantile(secrets, 0.95), quantile(secrets, 0.99)
	r.More["available_p50_s"], r.More["available_p95_s"] = quantile(available, 0.5), quantile(available, 0.95)
	r.More["ready_all_p95_s"], r.More["secret_all_p50_s"], r.More["secret_all_p95_s"] = quantile(all, 0.95), quantile(allSecrets, 0.5), quantile(allSecrets, 0.95)
	r.More["rss_idle_mib"], r.More["rss_after_mib"] = round(float64(idle)/(1<<20)), round(float64(rss)/(1<<20))
	r.More["objects"] = (applied + made) * b.size
	return nil
}

// pushed is what one run gave: seconds, sorted.
type pushed struct {
	secrets, available []float64
	spent              spent
}

type commit func(ctx context.Context, message string, files map[string]string) (string, error)

func (b *bench) push(ctx context.Context, commit commit, message string, files map[string]string) (pushed, error) {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	w, err := b.watch(ctx)
	if err != nil {
		return pushed{}, err
	}
	m, err := b.meter(ctx)
	if err != nil {
		return pushed{}, err
	}
	hash, err := commit(ctx, message, files)
	if err != nil {
		return pushed{}, err
	}
	begin := time.Now() // the push is over: from here on it is the controller's
	if err := b.reconcile(ctx, &sourcev1.GitRepository{}); err != nil {
		return pushed{}, err
	}
	select {
	case <-w.done:
	case <-ctx.Done():
		return pushed{}, fmt.Errorf("%s: after %s there are %d Secrets and %d workloads: %w", message, runTimeout, len(w.secrets), len(w.available), ctx.Err())
	}
	if err := b.applied(ctx, hash); err != nil {
		return pushed{}, err
	}
	time.Sleep(settle)
	s, err := m.stop(ctx)
	return pushed{since(begin, w.secrets), since(begin, w.available), s}, err
}

// settle is how long the last status writes and events may take after all is
// ready.
const settle = 500 * time.Millisecond

// clear commits the removal of the apps and waits until they are gone.
func (b *bench) clear(ctx context.Context, commit commit, empty map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	hash, err := commit(ctx, "remove", empty)
	if err != nil {
		return err
	}
	if err := b.reconcile(ctx, &sourcev1.GitRepository{}); err != nil {
		return err
	}
	if err := b.applied(ctx, hash); err != nil {
		return err
	}
	return b.gone(ctx)
}
