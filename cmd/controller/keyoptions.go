package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/lockstep-dev/lockstep/reconciler/keys"
)

// keyOptions are the settings of sealing keys, under the names of Sealed Secrets.
type keyOptions struct {
	keyPrefix string
	keySize   int
	keyTTL    time.Duration

	renewPeriod, rotatePeriod time.Duration
	cutoff, order             string
	commonName                string
	keyLabels, keyAnnotations string

	keysAsked <-chan os.Signal // one for each new key that is asked for
}

func (o *keyOptions) bind(fs *flag.FlagSet) {
	fs.StringVar(&o.keyPrefix, "key-prefix", "sealed-secrets-key", "prefix of the names of sealing keys")
	fs.IntVar(&o.keySize, "key-size", 4096, "size of a new sealing key, in bits")
	fs.DurationVar(&o.keyTTL, "key-ttl", 10*365*24*time.Hour, "validity of a new sealing key's certificate")
	fs.DurationVar(&o.renewPeriod, "key-renew-period", 30*24*time.Hour, "age at which the newest sealing key is followed by another; 0 is never")
	fs.DurationVar(&o.rotatePeriod, "rotate-period", 0, "deprecated: --key-renew-period")
	fs.StringVar(&o.cutoff, "key-cutoff-time", "", "make a new sealing key if the newest was made before, in RFC 1123 with a numeric zone, as date -R prints it")
	fs.StringVar(&o.order, "key-order-priority", string(keys.ByCertificate), "which sealing key is the newest: by "+string(keys.ByCertificate)+" or "+string(keys.ByCreation))
	fs.StringVar(&o.commonName, "my-cn", "", "common name of a new sealing key's certificate")
	fs.StringVar(&o.keyLabels, "privatekey-labels", "", "labels of a new key Secret besides its own: NAME=VALUE,...")
	fs.StringVar(&o.keyAnnotations, "privatekey-annotations", "", "annotations of a new key Secret: NAME=VALUE,...")
}

// renewal returns what the flags say of when there is a new key.
func (o *keyOptions) renewal() (keys.Renewal, error) {
	r := keys.Renewal{RenewPeriod: o.renewPeriod, CommonName: o.commonName}
	if o.rotatePeriod != 0 {
		r.RenewPeriod = o.rotatePeriod
	}
	if r.RenewPeriod < 0 {
		return r, fmt.Errorf("--key-renew-period %v: use 0 for never", r.RenewPeriod)
	}
	var err error
	if o.cutoff != "" {
		if r.Cutoff, err = time.Parse(time.RFC1123Z, o.cutoff); err != nil {
			return r, fmt.Errorf("--key-cutoff-time %q: write it as %q", o.cutoff, time.RFC1123Z)
		}
	}
	if r.Order, err = keys.ParseOrder(o.order); err != nil {
		return r, fmt.Errorf("--key-order-priority: %w", err)
	}
	if r.Labels, err = keys.ParsePairs(o.keyLabels); err != nil {
		return r, fmt.Errorf("--privatekey-labels: %w", err)
	}
	if r.Annotations, err = keys.ParsePairs(o.keyAnnotations); err != nil {
		return r, fmt.Errorf("--privatekey-annotations: %w", err)
	}
	return r, nil
}

// environment sets each flag from the variable that Sealed Secrets reads it
// from: SEALED_SECRETS_KEY_PREFIX for --key-prefix.
func environment(fs *flag.FlagSet) error {
	var failed error
	fs.VisitAll(func(f *flag.Flag) {
		name := "SEALED_SECRETS_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if value, ok := os.LookupEnv(name); ok && failed == nil {
			if err := fs.Set(f.Name, value); err != nil {
				failed = fmt.Errorf("$%s: %w", name, err)
			}
		}
	})
	return failed
}
