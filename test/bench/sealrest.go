package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	sigsyaml "sigs.k8s.io/yaml"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
)

// afterStart is how long the controller is watched after a restart: what it
// does not do by then, it does not do.
const afterStart = 10 * time.Second

// sealRestart measures a restart with SealedSecrets that are as they should be.
func sealRestart(ctx context.Context, b *bench) error {
	newest, err := b.moreKeys(ctx)
	if err != nil {
		return err
	}
	if err := b.createSealed(ctx, envelope1(newest), 0); err != nil {
		return err
	}
	time.Sleep(2 * time.Second) // the last status is written
	return b.restart(ctx)
}

// restart measures from the start of the process.
func (b *bench) restart(ctx context.Context) error {
	b.Controller.Halt()
	before, err := b.auditSize()
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := b.Controller.Start(ctx); err != nil {
		return err
	}
	ready := time.Since(begin)
	if _, err := b.Controller.Certificate(ctx); err != nil {
		return err
	}
	keysLoaded := time.Since(begin)
	time.Sleep(afterStart)
	verbs, objects, err := b.audit(before)
	if err != nil {
		return err
	}
	cpu, rss, peak, err := b.Controller.Usage()
	if err != nil {
		return err
	}
	opened, err := b.opened(ctx)
	if err != nil {
		return err
	}
	r := &b.result
	r.More["opened"] = opened
	r.APIServer, r.WritesPerObject, r.APIServerTotal, r.ProviderCalls = verbs, 0, nil, nil
	r.ReadyAll, r.CPU, r.RSSPeak = round(ready.Seconds()), round(cpu.Seconds()), round(float64(peak)/(1<<20))
	r.More["keys_loaded_s"], r.More["rss_after_mib"], r.More["writes"] = round(keysLoaded.Seconds()), round(float64(rss)/(1<<20)), objects
	return nil
}

// opened returns how many items the controller has opened since it started, of
// both envelopes, by its metrics.
func (b *bench) opened(ctx context.Context) (float64, error) {
	text, err := b.Controller.MetricsText(ctx)
	if err != nil {
		return 0, err
	}
	sum, seen := 0.0, false
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, "lockstep_sealed_items_opened_total{")
		if !ok {
			continue
		}
		_, value, _ := strings.Cut(rest, "} ")
		n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil {
			return 0, fmt.Errorf("read the metric of opened items: %w", err)
		}
		sum, seen = sum+n, true
	}
	if !seen {
		return 0, errors.New("the controller has no metric of opened items")
	}
	return sum, nil
}

// unrelated is how many Secrets of how many bytes are none of ours.
const (
	unrelated     = 10_000
	unrelatedSize = 10_000
)

// sealMemory measures the memory of the controller in a cluster with many large
// Secrets that are none of its own.
func sealMemory(ctx context.Context, b *bench) error {
	if err := b.Ensure(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
		return err
	}
	group, with := errgroup.WithContext(ctx)
	group.SetLimit(clientsMax)
	for i := range unrelated {
		group.Go(func() error {
			value := make([]byte, unrelatedSize/2)
			rand.Read(value)
			return b.Client.Create(with, &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("unrelated-%d", i)},
				Data:       map[string][]byte{"value": []byte(hex.EncodeToString(value))},
			})
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	_, grown, _, err := b.Controller.Usage()
	if err != nil {
		return err
	}
	b.result.More["rss_while_they_came_mib"] = round(float64(grown) / (1 << 20))
	if err := b.restart(ctx); err != nil {
		return err
	}
	// One that is ours works among them.
	manifest, err := b.Seal(ctx, namespace, "ours", map[string]string{"a": "b"})
	if err != nil {
		return err
	}
	return b.applySealed(ctx, manifest)
}

// applySealed creates a SealedSecret and waits for its Secret.
func (b *bench) applySealed(ctx context.Context, manifest string) error {
	ss, err := parseSealed(manifest)
	if err != nil {
		return err
	}
	if err := b.Client.Create(ctx, ss); err != nil {
		return err
	}
	b.size = 1
	begin := time.Now()
	err = b.allSynced(ctx)
	b.result.More["one_opened_s"] = round(time.Since(begin).Seconds())
	return err
}

func parseSealed(manifest string) (*bitnamiv1alpha1.SealedSecret, error) {
	ss := &bitnamiv1alpha1.SealedSecret{}
	return ss, sigsyaml.Unmarshal([]byte(manifest), ss)
}

// auditSize returns how long the audit log is now.
func (b *bench) auditSize() (int64, error) {
	info, err := os.Stat(b.Cluster.AuditLog())
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
