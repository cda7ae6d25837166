package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// intervals is how many refresh intervals a scenario watches.
const intervals = 3

// crowd is many ExternalSecrets that are alike.
type crowd struct {
	store string // name of a SecretStore
	keys  int    // secrets that they share; as many as there are objects: one each
	every time.Duration
}

// esCreate measures ExternalSecrets, each on a secret of its own, from their
// creation to all Ready, with a provider that takes its time.
func esCreate(ctx context.Context, b *bench) error {
	if err := b.vaultStore(ctx, "secret", b.size); err != nil {
		return err
	}
	if err := b.Vault.Fail(ctx, testenv.Fault{Operation: "GET secret/data", DelayMillis: int(b.latencyOr(50 * time.Millisecond).Milliseconds())}); err != nil {
		return err
	}
	return b.populate(ctx, crowd{store: "secret", keys: b.size, every: time.Hour})
}

// esSame measures intervals of ExternalSecrets on the same secret.
func esSame(ctx context.Context, b *bench) error {
	if err := b.vaultStore(ctx, "secret", 1); err != nil {
		return err
	}
	every := b.intervalOr(20 * time.Second)
	if err := b.populate(ctx, crowd{store: "secret", keys: 1, every: every}); err != nil {
		return err
	}
	return b.refreshes(ctx, every, "GET secret/data")
}

// esDistinct measures intervals of ExternalSecrets on secrets of their own in
// AWS.
func esDistinct(ctx context.Context, b *bench) error {
	if err := b.awsStore(ctx, "aws", b.size); err != nil {
		return err
	}
	every := b.intervalOr(time.Minute)
	if err := b.populate(ctx, crowd{store: "aws", keys: b.size, every: every}); err != nil {
		return err
	}
	return b.refreshes(ctx, every, "secretsmanager:BatchGetSecretValue", "secretsmanager:GetSecretValue", "secretsmanager:ListSecrets")
}

// esMemory measures what ExternalSecrets, each on a secret of its own, hold in
// memory.
func esMemory(ctx context.Context, b *bench) error {
	_, before, _, err := b.Controller.Usage()
	if err != nil {
		return err
	}
	if err := b.vaultStore(ctx, "secret", b.size); err != nil {
		return err
	}
	if err := b.populate(ctx, crowd{store: "secret", keys: b.size, every: time.Hour}); err != nil {
		return err
	}
	time.Sleep(b.intervalOr(time.Minute)) // what the creation needed is given back
	_, rss, peak, err := b.Controller.Usage()
	if err != nil {
		return err
	}
	b.result.More["rss_before_mib"], b.result.More["rss_mib"], b.result.RSSPeak = mib(before), mib(rss), mib(peak)
	return nil
}

func mib(bytes int64) float64 { return round(float64(bytes) / (1 << 20)) }

func (b *bench) intervalOr(d time.Duration) time.Duration {
	if b.interval > 0 {
		return b.interval
	}
	return d
}

func (b *bench) latencyOr(d time.Duration) time.Duration {
	if b.latency > 0 {
		return b.latency
	}
	return d
}

// populate creates a crowd, waits until all are Ready, and notes what that
// took.
func (b *bench) populate(ctx context.Context, c crowd) error {
	m, err := b.meter(ctx)
	if err != nil {
		return err
	}
	begin := time.Now()
	ready, err := b.awaitExternal(ctx, "")
	if err != nil {
		return err
	}
	defer ready.stop()
	if err := b.createExternal(ctx, c); err != nil {
		return err
	}
	created := time.Since(begin)
	took, err := ready.all(ctx, b.size)
	if err != nil {
		return err
	}
	r := &b.result
	r.ReadyAll, r.More["create_s"] = round(time.Since(begin).Seconds()), round(created.Seconds())
	r.ReadyP50, r.ReadyP99 = quantile(took, 0.5), quantile(took, 0.99)
	time.Sleep(settle)
	s, err := m.stop(ctx)
	if err != nil {
		return err
	}
	b.record(s, b.size)
	_, rss, peak, err := b.Controller.Usage()
	r.More["rss_mib"], r.RSSPeak = mib(rss), mib(peak)
	return err
}

// createExternal creates a crowd, with several clients.
func (b *bench) createExternal(ctx context.Context, c crowd) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(clientsMax)
	for i := range b.size {
		group.Go(func() error {
			return b.Client.Create(ctx, external(fmt.Sprintf("es-%d", i), c.store, fmt.Sprintf("app-%d", i%c.keys), c.every))
		})
	}
	return group.Wait()
}

// external is an ExternalSecret of one value.
func external(name, store, key string, every time.Duration) *esv1.ExternalSecret {
	return &esv1.ExternalSecret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: esv1.ExternalSecretSpec{
			SecretStoreRef:  esv1.SecretStoreRef{Name: store},
			RefreshInterval: &metav1.Duration{Duration: every},
			Data:            []esv1.ExternalSecretData{{SecretKey: "token", RemoteRef: esv1.RemoteRef{Key: "bench/" + key, Property: "token"}}},
		},
	}
}

// refreshes watches some intervals, and notes what each costs. One may begin
// in the middle of what is due: the figures are means.
func (b *bench) refreshes(ctx context.Context, every time.Duration, operations ...string) error {
	time.Sleep(every + every/2) // the first brings together what was made over a while
	m, err := b.meter(ctx)
	if err != nil {
		return err
	}
	time.Sleep(intervals * every)
	s, err := m.stop(ctx)
	if err != nil {
		return err
	}
	calls := 0
	for _, name := range operations {
		calls += s.provider[name]
	}
	more := b.result.More
	more["interval_s"], more["intervals"] = every.Seconds(), intervals
	more["interval_provider_calls"] = round(float64(calls) / intervals)
	more["intervals_provider"], more["intervals_apiserver"] = s.provider, s.verbs
	more["interval_cpu_s"] = round(s.cpu.Seconds() / intervals)
	return nil
}
