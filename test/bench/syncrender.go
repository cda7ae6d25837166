package main

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/lockstep-dev/lockstep/reconciler/render"
	"github.com/lockstep-dev/lockstep/reconciler/source"
)

// syncRender renders the four objects of an app, one after the other and then
// on all cores: without a cluster, but in a process of its own.
func syncRender(_ context.Context, b *bench) error {
	tree, err := source.NewTree(map[string]string{"app/app.yaml": fmt.Sprintf(syncApp, "app")})
	if err != nil {
		return err
	}
	once := func() error {
		result, err := render.Render(tree, render.Options{Path: "app"})
		if err == nil && len(result.Objects) != syncObjects {
			return fmt.Errorf("%d objects, want %d", len(result.Objects), syncObjects)
		}
		return err
	}
	if err := once(); err != nil { // the first reads kustomize's schema
		return err
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var took []float64
	for range b.runs {
		begin := time.Now()
		if err := once(); err != nil {
			return err
		}
		took = append(took, time.Since(begin).Seconds())
	}
	runtime.ReadMemStats(&after)
	b.times(took)
	b.result.More["render_kib"] = round(float64(after.TotalAlloc-before.TotalAlloc) / float64(b.runs) / 1024)

	begin := time.Now()
	var group sync.WaitGroup
	for range runtime.NumCPU() {
		group.Go(func() {
			for range b.runs {
				_ = once() // has just been seen to work
			}
		})
	}
	group.Wait()
	b.result.More["renders_per_s_all_cores"] = round(float64(b.runs*runtime.NumCPU()) / time.Since(begin).Seconds())
	return nil
}
