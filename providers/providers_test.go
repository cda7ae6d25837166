package providers_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

type reader struct{ providers.Reader }

func TestRegistryOpen(t *testing.T) {
	want := reader{}
	open := func(context.Context, providers.Config) (providers.Reader, error) { return want, nil }
	both := providers.Registry{"vault": open, "azurekv": open}

	cases := map[string]struct {
		reason   string
		registry providers.Registry
		provider string
		wantErr  []string // parts of the message of an ErrInvalid
	}{
		"Have":    {reason: "A backend of the registry is opened.", registry: both, provider: `{"vault":{"server":"https://v"}}`},
		"Untyped": {reason: "So is one whose settings have no Go type here.", registry: both, provider: `{"azurekv":{}}`},
		"HaveNot": {reason: "A provider that is missing is named, and so are those that are there.", registry: both, provider: `{"ibm":{}}`, wantErr: []string{`"ibm"`, "azurekv, vault"}},
		"Empty":   {reason: "A build without backends says so.", provider: `{"ibm":{}}`, wantErr: []string{`"ibm"`, "only none"}},
		"Several": {reason: "Two providers in one store are a mistake.", registry: both, provider: `{"ibm":{},"fake":{}}`, wantErr: []string{"fake, ibm"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var p esv1.SecretStoreProvider
			if err := json.Unmarshal([]byte(tc.provider), &p); err != nil {
				t.Fatal(err)
			}
			got, err := tc.registry.Open(t.Context(), providers.Config{Provider: &p})
			if tc.wantErr == nil {
				if err != nil || got != want {
					t.Errorf("%s\nOpen(%s): got %v, %v, want the backend's reader", tc.reason, tc.provider, got, err)
				}
				return
			}
			if !errors.Is(err, providers.ErrInvalid) {
				t.Fatalf("%s\nOpen(%s): got %v, want ErrInvalid", tc.reason, tc.provider, err)
			}
			for _, part := range append(tc.wantErr, "spec.provider") {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s\nOpen(%s): got %q, want %q in it", tc.reason, tc.provider, err, part)
				}
			}
		})
	}
}

func TestThrottledIsItsClass(t *testing.T) {
	err := error(providers.Throttled{After: time.Second})
	if !errors.Is(err, providers.ErrThrottled) {
		t.Error("errors.Is(Throttled, ErrThrottled): got false")
	}
	if errors.Is(err, providers.ErrUnavailable) {
		t.Error("errors.Is(Throttled, ErrUnavailable): got true")
	}
	var got providers.Throttled
	if !errors.As(err, &got) || got.After != time.Second {
		t.Errorf("errors.As: got %+v, want After 1s", got)
	}
}
