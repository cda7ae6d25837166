package main

import (
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/reconciler/keys"
)

// The settings of keys come from flags, or from the variables of Sealed Secrets.
func TestRenewal(t *testing.T) {
	cases := map[string]struct {
		args  []string
		env   map[string]string
		check func(r keys.Renewal) bool
		err   string
	}{
		"Default": {check: func(r keys.Renewal) bool {
			return r.RenewPeriod == 720*time.Hour && r.Order == keys.ByCertificate && r.Cutoff.IsZero()
		}},
		"Off":         {args: []string{"--key-renew-period=0"}, check: func(r keys.Renewal) bool { return r.RenewPeriod == 0 }},
		"Environment": {env: map[string]string{"SEALED_SECRETS_KEY_RENEW_PERIOD": "1h"}, check: func(r keys.Renewal) bool { return r.RenewPeriod == time.Hour }},
		"FlagWins":    {args: []string{"--key-renew-period=2h"}, env: map[string]string{"SEALED_SECRETS_KEY_RENEW_PERIOD": "1h"}, check: func(r keys.Renewal) bool { return r.RenewPeriod == 2*time.Hour }},
		"Deprecated":  {args: []string{"--rotate-period=3h"}, check: func(r keys.Renewal) bool { return r.RenewPeriod == 3*time.Hour }},
		"Cutoff":      {args: []string{"--key-cutoff-time=Mon, 02 Jan 2006 15:04:05 +0000"}, check: func(r keys.Renewal) bool { return r.Cutoff.Unix() == 1136214245 }},
		"Labels":      {args: []string{"--privatekey-labels=a=b", "--privatekey-annotations=c=d"}, check: func(r keys.Renewal) bool { return r.Labels["a"] == "b" && r.Annotations["c"] == "d" }},
		"BadCutoff":   {args: []string{"--key-cutoff-time=yesterday"}, err: "--key-cutoff-time"},
		"BadOrder":    {args: []string{"--key-order-priority=x"}, err: "--key-order-priority"},
		"BadLabels":   {args: []string{"--privatekey-labels=x"}, err: "--privatekey-labels"},
		"BadPairs":    {args: []string{"--privatekey-annotations=x"}, err: "--privatekey-annotations"},
		"Negative":    {args: []string{"--key-renew-period=-1h"}, err: "--key-renew-period"},
		"BadVariable": {env: map[string]string{"SEALED_SECRETS_KEY_SIZE": "many"}, err: "SEALED_SECRETS_KEY_SIZE"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for k, v := range tc.env {
				t.Setenv(k, v)
			}
			o, err := parse(append([]string{"--namespace=ns"}, tc.args...))
			var r keys.Renewal
			if err == nil {
				r, err = o.renewal()
			}
			switch {
			case tc.err != "":
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got %v, want %q", err, tc.err)
				}
			case err != nil:
				t.Error(err)
			case !tc.check(r):
				t.Errorf("got %+v", r)
			}
		})
	}
}
