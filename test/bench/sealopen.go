package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/lockstep-dev/lockstep/sealer"
)

// ringSizes are how many keys a cluster has: a new one, a year of monthly
// renewals, and three years.
var ringSizes = []int{1, 12, 36}

// sealOpen measures what it takes to open one value, on one core: of envelope 2,
// and of envelope 1 with keys of 4096 bits, the newest of which sealed it.
func sealOpen(_ context.Context, b *bench) error {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	at := sealer.Place{Binding: sealer.Binding{Namespace: namespace, Name: "db"}, Item: "password"}
	value := []byte("a password of some length")
	keys, err := sealingKeys(slices.Max(ringSizes))
	if err != nil {
		return err
	}
	newest, oldest := keys[len(keys)-1], keys[0]
	sealed, err := sealer.Seal(&newest.Private.PublicKey, value, at.Label())
	if err != nil {
		return err
	}
	old, err := sealer.Seal(&oldest.Private.PublicKey, value, at.Label())
	if err != nil {
		return err
	}
	text, err := sealer.SealItem(value, at, newest.Hybrid.Recipient)
	if err != nil {
		return err
	}
	var one float64 // a ring of one key: one RSA operation
	for _, n := range ringSizes {
		ring := &sealer.Keyring{}
		ring.Set(append(slices.Clone(keys[:n-1]), newest)...)
		first, err := b.fastest(func() error { _, err := ring.Open(sealed, at.Binding, ""); return err })
		if err != nil {
			return err
		}
		hybrid, err := b.fastest(func() error { _, err := ring.OpenItem(text, at, ""); return err })
		if err != nil {
			return err
		}
		if n == 1 {
			one = first
			b.result.More["envelope1_rsa4096_ms"], b.result.More["envelope2_ms"] = round(first*1000), round(hybrid*1000)
			b.result.More["times_faster"] = round(first / hybrid)
			continue
		}
		hinted, err := b.fastest(func() error { _, err := ring.Open(old, at.Binding, oldest.Fingerprint); return err })
		if err != nil {
			return err
		}
		b.result.More[fmt.Sprintf("keys_%d", n)] = map[string]float64{
			"newest_sealed_in_rsa_operations": round(first / one), "oldest_sealed_known_in_rsa_operations": round(hinted / one), "envelope2_ms": round(hybrid * 1000),
		}
	}
	return nil
}

// sealingKeys makes n keys, the last the newest.
func sealingKeys(n int) ([]sealer.Key, error) {
	var all []sealer.Key
	cluster := sealer.NewClusterID()
	for i := range n {
		private, cert, err := sealer.NewCertificate(4096, time.Hour, "")
		if err != nil {
			return nil, err
		}
		key, err := sealer.NewKey(private, cert)
		if err != nil {
			return nil, err
		}
		if key.Hybrid, err = sealer.NewHybridKey(cluster); err != nil {
			return nil, err
		}
		key.Since = time.Unix(int64(i+1), 0)
		all = append(all, key)
	}
	return all, nil
}

// fastest returns how long f takes, in seconds: the shortest of many calls, as
// whatever else the machine does only makes them longer.
func (b *bench) fastest(f func() error) (float64, error) {
	best := 0.0
	for range max(b.runs, 20) * 10 {
		begin := time.Now()
		if err := f(); err != nil {
			return 0, err
		}
		if took := time.Since(begin).Seconds(); best == 0 || took < best {
			best = took
		}
	}
	return best, nil
}
