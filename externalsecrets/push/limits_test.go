package push_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	esv1alpha1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1alpha1"
	"github.com/lockstep-dev/lockstep/providers"
)

// troubled is a store that is down, or hangs, as long as a test wants.
type troubled struct {
	*vault

	hangs          bool
	well           atomic.Bool
	tried, at, top atomic.Int64 // writes; those under way; most of them
}

// Write implements providers.Writer.
func (s *troubled) Write(ctx context.Context, to providers.Target, v providers.Value, metadata json.RawMessage) error {
	s.tried.Add(1)
	now := s.at.Add(1)
	defer s.at.Add(-1)
	for top := s.top.Load(); now > top && !s.top.CompareAndSwap(top, now); top = s.top.Load() {
		continue
	}
	switch {
	case s.well.Load():
		return s.vault.Write(ctx, to, v, metadata)
	case s.hangs:
		<-ctx.Done()
		return ctx.Err()
	default:
		return fmt.Errorf("the store: %w", providers.ErrUnavailable)
	}
}

// pushes makes n PushSecrets to a store.
func (b *bench) pushes(n int, store string) {
	b.t.Helper()
	for i := range n {
		b.apply(fmt.Sprintf("metadata: {name: %[1]s-%[2]d}\nspec: {secretStoreRefs: [{name: %[1]s}], selector: {secret: {name: db}}, data: [{match: {secretKey: a, remoteRef: {remoteKey: %[1]s-%[2]d}}}]}", store, i), &esv1alpha1.PushSecret{})
	}
}

// TestTroubledStores has one store that is down and one that hangs, next to
// one that works.
func TestTroubledStores(t *testing.T) {
	empty := func() *vault { return &vault{values: map[providers.Target]string{}} }
	down, hangs, good := &troubled{vault: empty()}, &troubled{vault: empty(), hangs: true}, &troubled{vault: empty()}
	good.well.Store(true)
	all := providers.Registry{}
	for name, s := range map[string]*troubled{"down": down, "hangs": hangs, "good": good} {
		all[name] = func(context.Context, providers.Config) (providers.Reader, error) { return s, nil }
	}
	b := startWith(t, all)
	for name := range all {
		b.apply("metadata: {name: "+name+"}\nspec: {provider: {"+name+": {}}}", &esv1.SecretStore{})
	}
	b.apply("metadata: {name: db}\nstringData: {a: '1'}", &corev1.Secret{})
	b.pushes(30, "hangs")
	b.pushes(30, "down")
	b.pushes(30, "good")
	for i := range 30 { // long before the store that hangs is given up on
		b.ready(fmt.Sprintf("good-%d", i), "True/Synced")
	}
	if hangs.top.Load() > 2 || down.top.Load() > 2 {
		t.Errorf("writes at once: got %d and %d, want at most 2", hangs.top.Load(), down.top.Load())
	}
	b.ready("down-0", `False/Errored/`)
	time.Sleep(3 * time.Second)
	if n := down.tried.Load(); n > 15 {
		t.Errorf("a store that is down: %d writes of 30 objects, want one in a while", n)
	}
	down.well.Store(true)
	since := time.Now()
	b.eventually("all to be in the store that was down", func() string {
		down.mu.Lock()
		defer down.mu.Unlock()
		if n := len(down.values); n < 30 {
			return fmt.Sprint(n)
		}
		return ""
	})
	t.Logf("30 objects were written %s after their store came back", time.Since(since).Round(time.Millisecond))
}
