package stores

import (
	"errors"
	"strings"
	"testing"
	"time"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
)

func TestRetrySettings(t *testing.T) {
	cases := map[string]struct {
		reason string
		in     *esv1.RetrySettings
		want   providers.Retries
		field  string
	}{
		"None":        {reason: "Without them, there is one try."},
		"Empty":       {reason: "Fields that are not set are as in External Secrets.", in: &esv1.RetrySettings{}, want: providers.Retries{Max: 3, Wait: 5 * time.Second}},
		"Both":        {reason: "Fields that are set count.", in: &esv1.RetrySettings{MaxRetries: new(int32(5)), RetryInterval: new("500ms")}, want: providers.Retries{Max: 5, Wait: 500 * time.Millisecond}},
		"Never":       {reason: "None is a number, too.", in: &esv1.RetrySettings{MaxRetries: new(int32(0))}, want: providers.Retries{Wait: 5 * time.Second}},
		"Negative":    {reason: "Less is none.", in: &esv1.RetrySettings{MaxRetries: new(int32(-1))}, field: "maxRetries"},
		"NoDuration":  {reason: "An interval is a duration.", in: &esv1.RetrySettings{RetryInterval: new("5")}, field: "retryInterval"},
		"ZeroSeconds": {reason: "That passes.", in: &esv1.RetrySettings{RetryInterval: new("0s")}, field: "retryInterval"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := retries(tc.in)
			if got != tc.want || (err != nil) != (tc.field != "") {
				t.Fatalf("%s\ngot %+v, %v, want %+v", tc.reason, got, err, tc.want)
			}
			if err != nil && (!errors.Is(err, providers.ErrInvalid) || !strings.Contains(err.Error(), "spec.retrySettings."+tc.field)) {
				t.Errorf("%s\ngot %v, want ErrInvalid that names %s", tc.reason, err, tc.field)
			}
		})
	}
}
