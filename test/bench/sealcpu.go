package main

import (
	"context"
	"errors"
	"maps"
	"runtime"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/reconciler/keys"
	"github.com/lockstep-dev/lockstep/sealer"
	"github.com/lockstep-dev/lockstep/test/stage"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// sealFloor is sealCreate with values of envelope 2, which cost next to nothing
// to open: what is left is the floor, the API server and the rest.
func sealFloor(ctx context.Context, b *bench) error {
	if _, err := b.moreKeys(ctx); err != nil {
		return err
	}
	var secrets corev1.SecretList
	if err := b.Client.List(ctx, &secrets, client.InNamespace(stage.SystemNamespace), client.MatchingLabelsSelector{Selector: keys.Selector()}); err != nil {
		return err
	}
	for i := range secrets.Items {
		key, err := keys.Parse(&secrets.Items[i])
		if err != nil {
			return err
		}
		if key.Hybrid != nil {
			return b.createSealed(ctx, func(value []byte, at sealer.Place) (string, error) {
				return sealer.SealItem(value, at, key.Hybrid.Recipient)
			}, 0)
		}
	}
	return errors.New("no sealing key is of envelope 2")
}

// used is the processor time of each process, by name.
type used map[string]time.Duration

// cpuUsed returns what each process has used so far.
func (b *bench) cpuUsed() (used, error) {
	all, err := b.Cluster.CPU()
	if err != nil {
		return nil, err
	}
	u := used(maps.Clone(all))
	if u["controller"], _, _, err = b.Controller.Usage(); err != nil {
		return nil, err
	}
	u["bench"], err = testenv.OwnCPU()
	return u, err
}

// recordCPU records what each process has used since before, in seconds, and
// how much of took it leaves: what the cores did for others, or nothing.
func (b *bench) recordCPU(before used, took time.Duration) error {
	after, err := b.cpuUsed()
	if err != nil {
		return err
	}
	split, all := map[string]float64{}, 0.0
	for name, is := range after {
		seconds := (is - before[name]).Seconds()
		split[name], all = round(seconds), all+seconds
	}
	m := b.result.More
	m["cpu_split_s"], m["cpu_all_s"] = split, round(all)
	m["cpu_left_s"] = round(took.Seconds()*float64(runtime.NumCPU()) - all)
	return nil
}
