package providers

import (
	"errors"
	"net/http"
	"testing"
)

type answers func(*http.Request) (*http.Response, error)

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) { return a(r) }

func TestCounted(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		err    error
		failed bool
	}{
		"Answer":    {http.StatusOK, nil, false},
		"NotThere":  {http.StatusNotFound, nil, false},
		"Refused":   {http.StatusForbidden, nil, true},
		"Down":      {http.StatusBadGateway, nil, true},
		"NoneAtAll": {0, errors.New("connection refused"), true},
	} {
		t.Run(name, func(t *testing.T) {
			c := Counted{
				Next: answers(func(*http.Request) (*http.Response, error) { return &http.Response{StatusCode: tc.status}, tc.err }),
				Name: func(*http.Request) (string, string) { return "Test/" + name, "Read" },
			}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://vault.example.com/", nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.RoundTrip(r); !errors.Is(err, tc.err) {
				t.Errorf("error: got %v, want %v", err, tc.err)
			}
			all := Calls()
			for _, failed := range []bool{false, true} {
				want := uint64(0)
				if failed == tc.failed {
					want = 1
				}
				if got := all[Call{"Test/" + name, "Read", failed}]; got != want {
					t.Errorf("calls with failed=%t: got %d, want %d", failed, got, want)
				}
			}
		})
	}
}
