package vault

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/providers"
)

func TestSessionLogsIn(t *testing.T) {
	cases := map[string]struct {
		reason string
		ttl    time.Duration
		after  time.Duration // since the first login
		want   int           // logins in all
	}{
		"Fresh":       {"A token is used.", time.Hour, time.Minute, 1},
		"AlmostOver":  {"Until half a minute before its end.", time.Hour, time.Hour - 31*time.Second, 1},
		"Over":        {"And then replaced.", time.Hour, time.Hour - 30*time.Second, 2},
		"ShortFresh":  {"One that lives for less is used for four fifths of its life.", 10 * time.Second, 7 * time.Second, 1},
		"ShortOver":   {"And then replaced.", 10 * time.Second, 8 * time.Second, 2},
		"NeverExpire": {"One without an end has none.", 0, 1000 * time.Hour, 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			now, logins := time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC), 0
			s := &session{clock: func() time.Time { return now }, login: func(context.Context) (token, error) {
				logins++
				return token{value: providers.NewValue([]byte("t")), ttl: tc.ttl}, nil
			}}
			for range 2 {
				if _, err := s.token(t.Context(), providers.Value{}); err != nil {
					t.Fatal(err)
				}
				now = now.Add(tc.after)
			}
			if logins != tc.want {
				t.Errorf("%s\n%s after a login for %s: got %d logins, want %d", tc.reason, tc.after, tc.ttl, logins, tc.want)
			}
		})
	}
}

func TestSessionKeepsNoFailure(t *testing.T) {
	errBoom, fails := errors.New("boom"), true
	s := &session{clock: time.Now, login: func(context.Context) (token, error) {
		if fails {
			return token{}, errBoom
		}
		return token{value: providers.NewValue([]byte("t"))}, nil
	}}
	if _, err := s.token(t.Context(), providers.Value{}); !errors.Is(err, errBoom) {
		t.Errorf("token: got %v, want the error of the login", err)
	}
	fails = false
	if v, err := s.token(t.Context(), providers.Value{}); err != nil || string(v.Bytes()) != "t" {
		t.Errorf("token after the login works: got %q, %v", v.Bytes(), err)
	}
}
