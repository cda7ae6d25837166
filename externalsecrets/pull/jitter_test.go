package pull

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
)

// readAt is an ExternalSecret that was read at a time.
func readAt(uid types.UID, at time.Time, every time.Duration) *esv1.ExternalSecret {
	es := &esv1.ExternalSecret{}
	es.UID = uid
	es.Spec.RefreshInterval = &metav1.Duration{Duration: every}
	es.Status.RefreshTime = &metav1.Time{Time: at}
	return es
}

// TestJitterOfTheUID: the same object is read after the same time for ever, in
// whichever process, and that time is of its UID and its interval only.
func TestJitterOfTheUID(t *testing.T) {
	at := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for uid, want := range map[types.UID]float64{ // parts of the interval
		"2c8a7c3e-3f0e-4f3a-9a62-0f2f5c4f5d11": 0.08697970418,
		"9d4b4f0a-6f0d-4d43-8a5c-6e8d7b1f2a90": 0.06097415052,
	} {
		for _, every := range []time.Duration{time.Minute, time.Hour, 24 * time.Hour} {
			got := next(readAt(uid, at, every), &memory{}).Sub(at) - every
			if off := got - time.Duration(want*float64(every)); off.Abs() > 10*time.Microsecond {
				t.Errorf("%s, %s: %s later, want %f of it", uid, every, got, want)
			}
			later := at.Add(17 * time.Minute) // read by this process; the status does not say so
			if again := next(readAt(uid, at, every), &memory{read: later}).Sub(later) - every; again != got {
				t.Errorf("%s, %s: %s later the first time and %s the second", uid, every, got, again)
			}
		}
	}
}

// TestJitterIsSpread: what was made together comes back over the whole tenth of
// the interval, and in no part of it in a crowd.
func TestJitterIsSpread(t *testing.T) {
	const objects, parts = 10000, 20
	at := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	var in [parts]int
	for range objects {
		late := next(readAt(uuid.NewUUID(), at, time.Hour), &memory{}).Sub(at) - time.Hour
		if late < 0 || late >= 6*time.Minute {
			t.Fatalf("%s after the interval, want 0 to a tenth of it", late)
		}
		in[int(late*parts/(6*time.Minute))]++
	}
	for part, n := range in { // 500, with a standard deviation of 22
		if n < objects/parts*3/4 || n > objects/parts*5/4 {
			t.Errorf("%d of %d objects in part %d of %d, want about %d", n, objects, part, parts, objects/parts)
		}
	}
}
