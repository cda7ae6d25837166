package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/test/testenv"
)

const (
	allowed    = 100 // requests a second, in es-throttled
	perSecret  = 5   // ExternalSecrets on each secret there
	manyStores = 20

	// hangs is how long it takes until a store that hangs is given up on:
	// three timeouts, and the words about it to all who wait.
	hangs = 45 * time.Second
)

// esThrottled measures intervals of ExternalSecrets, five on each secret, with
// a provider that refuses more than 100 requests a second.
func esThrottled(ctx context.Context, b *bench) error {
	keys := max(b.size/perSecret, 1)
	if err := b.vaultStore(ctx, "secret", keys); err != nil {
		return err
	}
	if err := b.Vault.Fail(ctx, testenv.Fault{Operation: "GET secret/data", Code: "rate limit quota exceeded", Status: http.StatusTooManyRequests, PerSecond: allowed}); err != nil {
		return err
	}
	every := b.intervalOr(2 * time.Minute)
	if err := b.populate(ctx, crowd{store: "secret", keys: keys, every: every}); err != nil {
		return err
	}
	created := b.result.ProviderCalls["GET secret/data"]
	if err := b.Vault.ResetCounts(ctx); err != nil {
		return err
	}
	if err := b.refreshes(ctx, every, "GET secret/data"); err != nil {
		return err
	}
	seconds, err := b.Vault.Seconds(ctx)
	if err != nil {
		return err
	}
	requests, refused, peak := 0, 0, 0
	for _, s := range seconds {
		requests, refused, peak = requests+s.Requests, refused+s.Refused, max(peak, s.Requests)
	}
	more := b.result.More
	more["keys"], more["creation_calls"], more["refused"], more["peak_second"] = keys, created, refused, peak
	more["retry_amplification"] = round(float64(requests) / float64(max(requests-refused, 1)))
	more["mean_of_busy_seconds"] = round(float64(requests) / float64(max(len(seconds), 1)))
	return nil
}

// esHang measures new ExternalSecrets on 19 stores, with and without a 20th
// that hangs and that as many objects wait for as there are in all others.
func esHang(ctx context.Context, b *bench) error {
	for i := range manyStores {
		mount := fmt.Sprintf("kv-%d", i)
		if err := b.Vault.Mount(ctx, mount, 2); err != nil {
			return err
		}
		keys := b.runs // a secret for each probe
		if i == 0 {
			keys = b.size
		}
		if err := b.vaultStore(ctx, mount, keys); err != nil {
			return err
		}
	}
	every := b.intervalOr(10 * time.Second)
	if err := b.populate(ctx, crowd{store: "kv-0", keys: b.size, every: every}); err != nil {
		return err
	}
	without, err := b.onOthers(ctx, "without")
	if err != nil {
		return err
	}
	if err := b.Vault.Fail(ctx, testenv.Fault{Operation: "GET kv-0/data", DelayMillis: int(time.Hour.Milliseconds())}); err != nil {
		return err
	}
	time.Sleep(2*every + hangs)
	with, err := b.onOthers(ctx, "with")
	if err != nil {
		return err
	}
	more := b.result.More
	more["others_p50_s"] = []float64{quantile(without, 0.5), quantile(with, 0.5)}
	more["others_p99_s"] = []float64{quantile(without, 0.99), quantile(with, 0.99)}
	return nil
}

// onOthers makes probes on the stores that do not hang, in turn.
func (b *bench) onOthers(ctx context.Context, prefix string) ([]float64, error) {
	var all []float64
	for i := 1; i < manyStores; i++ {
		took, err := b.probes(ctx, fmt.Sprintf("%s-%d", prefix, i), fmt.Sprintf("kv-%d", i), 0)
		if err != nil {
			return nil, err
		}
		all = append(all, took...)
	}
	slices.Sort(all)
	return all, nil
}

// esDown measures a provider that is down: for a while with real servers, and
// for an hour with the queue of the controller under a simulated clock.
func esDown(ctx context.Context, b *bench) error {
	if err := b.vaultStore(ctx, "secret", b.size); err != nil {
		return err
	}
	every := b.intervalOr(20 * time.Second)
	if err := b.populate(ctx, crowd{store: "secret", keys: b.size, every: every}); err != nil {
		return err
	}
	if err := b.Vault.Fail(ctx, testenv.Fault{Operation: "GET secret/data", Code: "down", Status: http.StatusServiceUnavailable}); err != nil {
		return err
	}
	found := every + every/2 + time.Minute // the first probes follow one another sooner
	time.Sleep(found)
	if err := b.Vault.ResetCounts(ctx); err != nil {
		return err
	}
	watched := max(5*every, 2*time.Minute)
	time.Sleep(watched)
	counts, err := b.Vault.Counts(ctx)
	if err != nil {
		return err
	}
	more := b.result.More
	more["down_s"], more["probes_per_minute"] = (watched + found).Seconds(), round(float64(counts["GET secret/data"])/watched.Minutes())
	if err := b.lost(ctx); err != nil {
		return err
	}
	if err := b.Vault.ClearFaults(ctx); err != nil {
		return err
	}
	if more["recovery_s"], err = b.recovery(ctx, every); err != nil {
		return err
	}
	return b.simulated(ctx)
}

// recovery is how many seconds it takes until nothing is late any more.
func (b *bench) recovery(ctx context.Context, every time.Duration) (float64, error) {
	for back := time.Now(); ; time.Sleep(500 * time.Millisecond) {
		late, err := b.overdue(ctx)
		if err != nil || late < every.Seconds()/2 {
			return round(time.Since(back).Seconds()), err
		}
		if time.Since(back) > runTimeout {
			return 0, fmt.Errorf("%s after the provider is back, refreshes are late by %.0f s", runTimeout, late)
		}
	}
}

// lost counts the Secrets that are gone or empty.
func (b *bench) lost(ctx context.Context) error {
	var list corev1.SecretList
	if err := b.Client.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return err
	}
	whole := 0
	for i := range list.Items {
		if s := &list.Items[i]; strings.HasPrefix(s.Name, "es-") && len(s.Data["token"]) > 0 {
			whole++
		}
	}
	b.result.More["secrets_lost"] = b.size - whole
	return nil
}

// simulated runs the hour: the test of the queue, whose clock jumps.
func (b *bench) simulated(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-v", "-run", "^TestDownForAnHour$", "./externalsecrets/queue")
	cmd.Dir = b.Root
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("simulate an hour: %w: %s", err, out)
	}
	_, text, _ := strings.Cut(string(out), "figures: ")
	text, _, _ = strings.Cut(text, "\n")
	var figures map[string]any
	if err := json.Unmarshal([]byte(text), &figures); err != nil {
		return fmt.Errorf("figures of the simulated hour: %w: %s", err, out)
	}
	b.result.More["simulated_hour"] = figures
	return nil
}
