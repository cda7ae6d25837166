package pull

import (
	"errors"
	"testing"
	"time"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

func TestWindows(t *testing.T) {
	at := func(text string) time.Time {
		parsed, err := time.Parse("2006-01-02 15:04:05", text)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	cases := map[string]struct {
		reason, kind, schedule, duration, now, want string
		second                                      []esv1.SyncWindow
	}{
		"Open":         {reason: "Inside of a window, now is the time.", kind: "allow", schedule: "0 2 * * *", duration: "2h", now: "2026-03-01 03:59:59", want: "2026-03-01 03:59:59"},
		"JustOpen":     {reason: "A window opens on the minute.", kind: "allow", schedule: "0 2 * * *", duration: "2h", now: "2026-03-01 02:00:00", want: "2026-03-01 02:00:00"},
		"JustClosed":   {reason: "And is over when its time is.", kind: "allow", schedule: "0 2 * * *", duration: "2h", now: "2026-03-01 04:00:00", want: "2026-03-02 02:00:00"},
		"Before":       {reason: "Before it, it is waited for.", kind: "allow", schedule: "30 2 * * 1-5", duration: "1h", now: "2026-03-07 02:40:00", want: "2026-03-09 02:30:00"},
		"Denied":       {reason: "A denied time is over at its end.", kind: "deny", schedule: "@daily", duration: "6h", now: "2026-03-01 01:00:00", want: "2026-03-01 06:00:00"},
		"NotDenied":    {reason: "Outside of it, now is the time.", kind: "deny", schedule: "@daily", duration: "6h", now: "2026-03-01 07:00:00", want: "2026-03-01 07:00:00"},
		"DeniedInTurn": {reason: "Windows that overlap are one.", kind: "deny", schedule: "0 1 * * *", duration: "2h", now: "2026-03-01 01:30:00", want: "2026-03-01 05:00:00", second: []esv1.SyncWindow{{Schedule: "0 2 * * *", Duration: "3h"}}},
		"DeniedEver":   {reason: "There may be no time at all.", kind: "deny", schedule: "@hourly", duration: "1h", now: "2026-03-01 01:30:00", want: "0001-01-01 00:00:00"},
		"LeapDay":      {reason: "Rare days come.", kind: "allow", schedule: "0 0 29 feb *", duration: "1h", now: "2026-03-01 00:00:00", want: "2028-02-29 00:00:00"},
		"Never":        {reason: "Some do not.", kind: "allow", schedule: "0 0 31 2 *", duration: "1h", now: "2026-03-01 00:00:00", want: "0001-01-01 00:00:00"},
		"Sunday":       {reason: "Sunday is 0 and 7.", kind: "allow", schedule: "0 0 * * 7", duration: "1h", now: "2026-03-02 00:00:00", want: "2026-03-08 00:00:00"},
		"Either":       {reason: "With two days, either counts.", kind: "allow", schedule: "0 0 13 * fri", duration: "1h", now: "2026-03-01 00:00:00", want: "2026-03-06 00:00:00"},
		"Every":        {reason: "An interval counts from the first of January 1970.", kind: "allow", schedule: "@every 6h", duration: "1h", now: "2026-03-01 07:30:00", want: "2026-03-01 12:00:00"},
		"EveryOpen":    {reason: "It opens a window, too.", kind: "allow", schedule: "@every 6h", duration: "2h", now: "2026-03-01 07:30:00", want: "2026-03-01 07:30:00"},
		"EveryDenied":  {reason: "And may deny.", kind: "deny", schedule: "@every 90m", duration: "30m", now: "2026-03-01 00:10:00", want: "2026-03-01 00:30:00"},
		"Steps":        {reason: "Steps and lists are known.", kind: "allow", schedule: "5,10-20/5 */6 * * *", duration: "1m", now: "2026-03-01 00:16:00", want: "2026-03-01 00:20:00"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w, err := newWindows(&esv1.SyncWindows{Kind: tc.kind, Windows: append(tc.second, esv1.SyncWindow{Schedule: tc.schedule, Duration: tc.duration})})
			if err != nil {
				t.Fatal(err)
			}
			now, want := at(tc.now), at(tc.want)
			if got := w.first(now); !got.Equal(want) {
				t.Errorf("%s\nfirst(%s): got %s, want %s", tc.reason, now, got, want)
			}
			if got := w.admits(now); got != now.Equal(want) {
				t.Errorf("%s\nadmits(%s): got %t", tc.reason, now, got)
			}
		})
	}
	for _, bad := range []esv1.SyncWindow{
		{Schedule: "* * * *", Duration: "1h"}, {Schedule: "60 * * * *", Duration: "1h"}, {Schedule: "5-1 * * * *", Duration: "1h"}, {Schedule: "*/0 * * * *", Duration: "1h"},
		{Schedule: "@every soon", Duration: "1h"}, {Schedule: "@every 1s", Duration: "1h"}, {Schedule: "@daily", Duration: "soon"}, {Schedule: "@daily", Duration: "-1h"}, {Schedule: "x * * * *", Duration: "1h"},
	} {
		if _, err := newWindows(&esv1.SyncWindows{Kind: "allow", Windows: []esv1.SyncWindow{bad}}); !errors.Is(err, providers.ErrInvalid) {
			t.Errorf("%+v: got %v, want ErrInvalid", bad, err)
		}
	}
}
