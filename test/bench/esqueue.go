package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lockstep-dev/lockstep/test/testenv"
)

// backlogRate is how many reads a second are due in es-queue: more than a store
// gets, so that the queue never empties.
const backlogRate = 300

// esQueue measures how soon a new ExternalSecret is Ready while more are due
// than the store gets to answer.
func esQueue(ctx context.Context, b *bench) error {
	if err := b.vaultStore(ctx, "secret", b.size+b.runs); err != nil {
		return err
	}
	every := b.intervalOr(max(time.Duration(b.size)*time.Second/backlogRate, time.Second))
	if err := b.populate(ctx, crowd{store: "secret", keys: b.size, every: every}); err != nil {
		return err
	}
	slow := testenv.Fault{Operation: "GET secret/data", DelayMillis: int(b.latencyOr(50 * time.Millisecond).Milliseconds())}
	if err := b.Vault.Fail(ctx, slow); err != nil {
		return err
	}
	time.Sleep(2 * every)
	before, err := b.overdue(ctx)
	if err != nil {
		return err
	}
	took, err := b.probes(ctx, "probe", "secret", b.size)
	if err != nil {
		return err
	}
	after, err := b.overdue(ctx)
	if err != nil {
		return err
	}
	more := b.result.More
	more["interval_s"], more["oldest_overdue_s"] = every.Seconds(), []float64{round(before), round(after)}
	more["new_ready_p50_s"], more["new_ready_p99_s"] = quantile(took, 0.5), quantile(took, 0.99)
	return nil
}

// probes creates runs ExternalSecrets, one after the other, on secrets from
// first on, and returns the seconds until each was Ready, sorted.
func (b *bench) probes(ctx context.Context, prefix, store string, first int) ([]float64, error) {
	var all []float64
	for i := range b.runs {
		took, err := b.probe(ctx, fmt.Sprintf("%s-%d", prefix, i), store, first+i)
		if err != nil {
			return nil, err
		}
		all = append(all, took)
		time.Sleep(200 * time.Millisecond)
	}
	slices.Sort(all)
	return all, nil
}

// probe creates one ExternalSecret, and returns the seconds until it was Ready.
func (b *bench) probe(ctx context.Context, name, store string, key int) (float64, error) {
	ready, err := b.awaitExternal(ctx, name)
	if err != nil {
		return 0, err
	}
	defer ready.stop()
	begin := time.Now()
	if err := b.Client.Create(ctx, external(name, store, fmt.Sprintf("app-%d", key), time.Hour)); err != nil {
		return 0, err
	}
	if _, err := ready.all(ctx, 1); err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return round(time.Since(begin).Seconds()), nil
}

// overdue is the controller's own figure of how late refreshes are, in seconds.
func (b *bench) overdue(ctx context.Context) (float64, error) {
	const metric = "lockstep_externalsecrets_oldest_overdue_refresh_seconds "
	text, err := b.Controller.MetricsText(ctx)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, metric); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("the controller has no metric %s", metric)
}
