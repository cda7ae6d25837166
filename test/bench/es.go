package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// esInterval is the refresh interval of the scenarios that let one pass.
const esInterval = 20 * time.Second

// esCreate measures ExternalSecrets, each on a secret of its own, from their
// creation to all Ready, and what they hold in memory.
func esCreate(ctx context.Context, b *bench) error {
	return b.external(ctx, b.size, time.Hour, 0)
}

// esSame measures one interval of ExternalSecrets on the same secret.
func esSame(ctx context.Context, b *bench) error {
	return b.external(ctx, 1, esInterval, esInterval+esInterval/5)
}

// esRefresh measures one interval of ExternalSecrets on secrets of their own.
func esRefresh(ctx context.Context, b *bench) error {
	return b.external(ctx, b.size, esInterval, esInterval+esInterval/5)
}

// external makes ExternalSecrets on a number of secrets in Vault, waits until
// all are Ready, and then watches for a while what they cost.
func (b *bench) external(ctx context.Context, keys int, every, watched time.Duration) error {
	if err := b.externalStore(ctx, keys); err != nil {
		return err
	}
	m, err := b.meter(ctx)
	if err != nil {
		return err
	}
	begin := time.Now()
	for i := range b.size {
		es := &esv1.ExternalSecret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("es-%d", i)}}
		es.Spec = esv1.ExternalSecretSpec{
			SecretStoreRef:  esv1.SecretStoreRef{Name: "vault"},
			RefreshInterval: &metav1.Duration{Duration: every},
			Data:            []esv1.ExternalSecretData{{SecretKey: "token", RemoteRef: esv1.RemoteRef{Key: fmt.Sprintf("bench/app-%d", i%keys), Property: "token"}}},
		}
		if err := b.Client.Create(ctx, es); err != nil {
			return err
		}
	}
	created := time.Since(begin)
	if err := b.allReady(ctx); err != nil {
		return err
	}
	r := &b.result
	r.ReadyAll = round(time.Since(begin).Seconds())
	r.More["create_s"] = round(created.Seconds())
	time.Sleep(settle)
	s, err := m.stop(ctx)
	if err != nil {
		return err
	}
	b.record(s, b.size)
	_, rss, peak, err := b.Controller.Usage()
	if err != nil {
		return err
	}
	r.More["rss_mib"], r.RSSPeak = round(float64(rss)/(1<<20)), round(float64(peak)/(1<<20))
	if watched == 0 {
		return nil
	}
	if m, err = b.meter(ctx); err != nil {
		return err
	}
	time.Sleep(watched)
	if s, err = m.stop(ctx); err != nil {
		return err
	}
	r.More["interval_s"], r.More["watched_s"] = every.Seconds(), watched.Seconds()
	r.More["interval_provider_calls"], r.More["interval_apiserver"], r.More["interval_cpu_s"] = s.provider, s.verbs, round(s.cpu.Seconds())
	return nil
}

// externalStore makes the store, and the secrets in it.
func (b *bench) externalStore(ctx context.Context, keys int) error {
	token, err := b.Vault.Token(ctx, testenv.VaultRole{Name: "bench", Policy: testenv.Allow("secret/data/bench/*")})
	if err != nil {
		return err
	}
	for i := range keys {
		if _, err := b.Vault.Put(ctx, fmt.Sprintf("bench/app-%d", i), map[string]any{"token": fmt.Sprintf("value-of-app-%d", i)}); err != nil {
			return err
		}
	}
	store := &esv1.SecretStore{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "vault"}}
	path := "secret"
	store.Spec.Provider = &esv1.SecretStoreProvider{Vault: &esv1.VaultProvider{
		Server: b.Vault.Address(), Path: &path, Version: esv1.VaultKVv2, CABundle: b.Vault.CA,
		Auth: &esv1.VaultAuth{TokenSecretRef: &esv1.SecretKeySelector{Name: "vault-token", Key: "token"}},
	}}
	return b.Ensure(ctx,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "vault-token"}, StringData: map[string]string{"token": token}},
		store)
}

// allReady waits until every ExternalSecret is Ready, and notes how long each
// took: conditions have whole seconds.
func (b *bench) allReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	for {
		var list esv1.ExternalSecretList
		if err := b.Client.List(ctx, &list, client.InNamespace(namespace)); err != nil {
			return err
		}
		var took []float64
		for i := range list.Items {
			es := &list.Items[i]
			if c := meta.FindStatusCondition(es.GetConditions(), "Ready"); c != nil && c.Status == metav1.ConditionTrue {
				took = append(took, c.LastTransitionTime.Sub(es.CreationTimestamp.Time).Seconds())
			}
		}
		if len(took) == b.size {
			slices.Sort(took)
			b.result.ReadyP50, b.result.ReadyP99 = quantile(took, 0.5), quantile(took, 0.99)
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d ExternalSecrets are Ready: %w", len(took), b.size, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
