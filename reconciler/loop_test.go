package reconciler

import (
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"k8s.io/apimachinery/pkg/api/meta"
)

func TestNext(t *testing.T) {
	boom := errors.New("boom")
	loop := &Loop[*sourcev1.GitRepository]{Every: func(*sourcev1.GitRepository) time.Duration { return time.Hour }}

	cases := map[string]struct {
		reason    string
		err       error
		wantAfter time.Duration
		wantErr   error // nil, or an error the result must wrap
	}{
		"Success": {
			reason:    "A success comes back after Every.",
			wantAfter: time.Hour,
		},
		"Wait": {
			reason:    "A wait is not an error to controller-runtime, or it would back off.",
			err:       Wait("NotYet", time.Minute, boom),
			wantAfter: time.Minute,
		},
		"Progressing": {
			reason:    "Work that goes on is looked at again in time.",
			err:       Progressing("Progressing", time.Second, boom),
			wantAfter: time.Second,
		},
		"Final": {
			reason:  "A final error must stop the retries.",
			err:     Final("BadSpec", boom),
			wantErr: reconcile.TerminalError(nil),
		},
		"Temporary": {
			reason:  "A temporary error backs off, and keeps its cause.",
			err:     Temporary("Conflict", boom),
			wantErr: boom,
		},
		"Unknown": {
			reason:  "An unknown error is retried, and keeps its cause.",
			err:     boom,
			wantErr: boom,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := loop.next(nil, tc.err)
			if !errors.Is(err, tc.wantErr) {
				t.Errorf("%s\nnext(%v): got error %v, want %v", tc.reason, tc.err, err, tc.wantErr)
			}
			low, high := time.Duration(0.94*float64(tc.wantAfter)), time.Duration(1.06*float64(tc.wantAfter))
			if got.RequeueAfter < low || got.RequeueAfter > high {
				t.Errorf("%s\nnext(%v): got %v, want about %v", tc.reason, tc.err, got.RequeueAfter, tc.wantAfter)
			}
		})
	}
}

func TestReport(t *testing.T) {
	boom := errors.New("boom")
	cases := map[string]struct {
		reason string
		err    error
		want   map[string]string // condition type to "Status/Reason"; absent types must be absent
	}{
		"Success": {
			reason: "A success clears what an earlier failure said.",
			want:   map[string]string{Ready: "True/Succeeded"},
		},
		"Final": {
			reason: "kstatus reads Stalled as failed.",
			err:    Final("BadSpec", boom),
			want:   map[string]string{Ready: "False/BadSpec", Stalled: "True/BadSpec"},
		},
		"Wait": {
			reason: "A wait names its reason and is not stalled.",
			err:    Wait("NotYet", 0, boom),
			want:   map[string]string{Ready: "False/NotYet", Reconciling: "True/ProgressingWithRetry"},
		},
		"Progressing": {
			reason: "Nothing failed, so Ready is Unknown, not False.",
			err:    Progressing("Progressing", 0, boom),
			want:   map[string]string{Ready: "Unknown/Progressing", Reconciling: "True/Progressing"},
		},
		"Temporary": {
			reason: "A temporary error carries its reason.",
			err:    Temporary("Conflict", boom),
			want:   map[string]string{Ready: "False/Conflict", Reconciling: "True/ProgressingWithRetry"},
		},
		"Unknown": {
			reason: "An error without a class is a failure that is retried.",
			err:    boom,
			want:   map[string]string{Ready: "False/Failed", Reconciling: "True/ProgressingWithRetry"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := &sourcev1.GitRepository{}
			obj.Generation = 7
			obj.SetConditions([]metav1.Condition{
				{Type: Stalled, Status: metav1.ConditionTrue, Reason: "Old"},
				{Type: Reconciling, Status: metav1.ConditionTrue, Reason: "Old"},
			})
			(&Loop[*sourcev1.GitRepository]{}).report(obj, tc.err)
			for _, kind := range []string{Ready, Reconciling, Stalled} {
				c, got := meta.FindStatusCondition(obj.GetConditions(), kind), ""
				if c != nil {
					got = string(c.Status) + "/" + c.Reason
					if c.ObservedGeneration != 7 {
						t.Errorf("%s: observedGeneration of %s is %d, want 7", tc.reason, kind, c.ObservedGeneration)
					}
				}
				if got != tc.want[kind] {
					t.Errorf("%s\nreport(%v): %s is %q, want %q", tc.reason, tc.err, kind, got, tc.want[kind])
				}
			}
		})
	}
}
