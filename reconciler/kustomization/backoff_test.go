package kustomization

import (
	"errors"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/reconciler"
)

// TestRetryBacksOff fails the same attempt again and again.
func TestRetryBacksOff(t *testing.T) {
	const interval = time.Minute
	r := &run{state: &state{}}
	wait := func() time.Duration {
		t.Helper()
		e, ok := errors.AsType[*reconciler.Error](r.spread(reconciler.Wait("Failed", interval, errors.New("down"))))
		if !ok {
			t.Fatal("the class of the error is lost")
		}
		return e.After
	}
	for i, minutes := range []float64{1, 2, 4, 8, 8, 8} {
		if got := wait().Minutes(); got != minutes {
			t.Errorf("failure %d: waits %g minutes, want %g", i+1, got, minutes)
		}
	}
	if err := r.spread(nil); err != nil {
		t.Fatal(err)
	}
	if got := wait(); got != interval {
		t.Errorf("after a success: waits %s, want %s", got, interval)
	}
	if err := r.spread(reconciler.Final("Bad", errors.New("bad"))); !errors.As(err, new(*reconciler.Error)) {
		t.Errorf("final: got %v", err)
	}
}

// TestFightBacksOff puts an object right again and again.
func TestFightBacksOff(t *testing.T) {
	var f fight
	now := time.Unix(0, 0)
	for i := range fightTimes - 1 {
		if now = now.Add(time.Second); f.again(now) {
			t.Fatalf("a truce after %d corrections", i+1)
		}
	}
	for _, want := range []time.Duration{firstTruce, 2 * firstTruce, 4 * firstTruce, 8 * firstTruce, 16 * firstTruce, lastTruce, lastTruce} {
		if now = now.Add(time.Second); !f.again(now) || f.until.Sub(now) != want {
			t.Errorf("truce of %s, want %s", f.until.Sub(now), want)
		}
		now = f.until
	}
	if now = now.Add(2 * fightGap); f.again(now) {
		t.Error("a truce for the first correction after peace")
	}
}
