package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// memoryObjects is how many objects each Kustomization of sync-memory has:
// those of sync-create, and ConfigMaps.
const memoryObjects = 10

// syncMemory measures what size Kustomizations of 10 objects each hold in
// memory: while they are made, a minute later, and after a restart.
func syncMemory(ctx context.Context, b *bench) error {
	_, before, _, err := b.Controller.Usage()
	if err != nil {
		return err
	}
	manifest := syncApp
	for i := range memoryObjects - syncObjects {
		manifest += "---\n" + strings.Replace(syncConfigMap, "%[1]s", fmt.Sprintf("%%[1]s-%d", i), 1)
	}
	begin := time.Now()
	if err := b.syncAll(ctx, manifest); err != nil {
		return err
	}
	b.result.ReadyAll = round(time.Since(begin).Seconds())
	time.Sleep(time.Minute) // what the creation needed is given back
	_, rss, peak, err := b.Controller.Usage()
	if err != nil {
		return err
	}
	b.result.More["rss_before_mib"], b.result.More["rss_mib"], b.result.RSSPeak = mib(before), mib(rss), mib(peak)
	return b.memoryAgain(ctx)
}

// memoryAgain notes the memory of a controller that starts when all is there.
func (b *bench) memoryAgain(ctx context.Context) error {
	b.Controller.Halt()
	if err := b.Controller.Start(ctx); err != nil {
		return err
	}
	time.Sleep(time.Minute)
	_, rss, peak, err := b.Controller.Usage()
	if err != nil {
		return err
	}
	b.result.More["rss_restarted_mib"], b.result.More["rss_restarted_peak_mib"] = mib(rss), mib(peak)
	return nil
}
