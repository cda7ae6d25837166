package providers_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/lockstep-dev/lockstep/providers"
)

func TestValueNeverPrints(t *testing.T) {
	v := providers.NewValue([]byte("hunter2"))
	type wrapped struct {
		V providers.Value
		v providers.Value // fmt cannot call methods on unexported fields
	}

	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "v", v, "w", wrapped{v, v})
	if b, err := json.Marshal(v); err == nil {
		t.Errorf("json.Marshal: got %s, want an error", b)
	}
	if b, err := json.Marshal(map[string]any{"v": []providers.Value{v}}); err == nil {
		t.Errorf("json.Marshal of a list: got %s, want an error", b)
	}
	cases := map[string]string{
		"Error": fmt.Errorf("oops %v: %w", v, errors.New("x")).Error(),
		"Slog":  logged.String(),
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		cases[verb] = fmt.Sprintf(verb+verb+verb, v, wrapped{v, v}, &wrapped{v, v})
	}
	for name, got := range cases {
		t.Run(name, func(t *testing.T) {
			for _, leak := range []string{"hunter2", "68756e74", "aHVudGVy", "104 117"} {
				if strings.Contains(got, leak) {
					t.Errorf("%s leaks %q: %s", name, leak, got)
				}
			}
		})
	}
}

func TestValueEqual(t *testing.T) {
	value := func(s string) providers.Value { return providers.NewValue([]byte(s)) }
	cases := map[string]struct {
		v, w providers.Value
		want bool
	}{
		"Same":        {value("a"), value("a"), true},
		"Other":       {value("a"), value("b"), false},
		"Longer":      {value("a"), value("aa"), false},
		"Zero":        {providers.Value{}, providers.Value{}, true},
		"ZeroOrEmpty": {providers.Value{}, value(""), true},
		"ZeroOrSome":  {providers.Value{}, value("a"), false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := tc.v.Equal(tc.w); got != tc.want {
				t.Errorf("%q.Equal(%q): got %t, want %t", tc.v.Bytes(), tc.w.Bytes(), got, tc.want)
			}
		})
	}
}

func TestZeroValueIsEmpty(t *testing.T) {
	if got := (providers.Value{}).Bytes(); got != nil {
		t.Errorf("Bytes of the zero Value: got %q, want nil", got)
	}
}
