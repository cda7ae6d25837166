package fake_test

import (
	"fmt"
	"testing"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/fake"
)

// TestFields is the inventory of spec.provider.fake.
func TestFields(t *testing.T) {
	conformance.Fields{
		Provider: "fake", Settings: esv1.FakeProvider{}, Base: map[string]any{"data": []map[string]string{}},
		Trace: func(t *testing.T, config providers.Config) (string, error) {
			t.Helper()
			r, err := fake.Open(t.Context(), config)
			if err != nil {
				return err.Error(), nil //nolint:nilerr // an error that is asked for is what it does
			}
			v, err := r.Read(t.Context(), providers.Ref{Path: "k", Version: "v1"})
			return fmt.Sprint(string(v.Bytes()), err), nil
		},
		Served: map[string]conformance.Change{
			"data":             {"data": []map[string]string{{"key": "k", "value": "v", "version": "v1"}}},
			"validationResult": {"validationResult": 2},
		},
	}.Test(t)
}
