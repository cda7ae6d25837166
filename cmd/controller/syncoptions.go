package main

import (
	"flag"
	"fmt"
	"strings"

	"github.com/lockstep-dev/lockstep/reconciler/apply"
	"github.com/lockstep-dev/lockstep/reconciler/kustomization"
)

// syncOptions are the settings of the sync core.
type syncOptions struct {
	syncAccount           string
	defaultServiceAccount string
	plaintext             kustomization.Plaintext
}

func (o *syncOptions) bind(fs *flag.FlagSet) {
	fs.StringVar(&o.syncAccount, "sync-account", "", "NAMESPACE/NAME of the ServiceAccount that applies for a Kustomization without a serviceAccountName; empty is the controller's own")
	fs.StringVar(&o.defaultServiceAccount, "default-service-account", "", "NAME of the ServiceAccount, in the Kustomization's own namespace, that applies for one without a serviceAccountName; goes before --sync-account")
	o.plaintext.Policy = kustomization.Refuse
	fs.Func("plaintext-secrets", "what to do about a Secret that is in clear in a source: refuse, warn or allow (default refuse)", func(s string) (err error) {
		o.plaintext.Policy, err = kustomization.ParsePolicy(s)
		return err
	})
	fs.Func("plaintext-secrets-allowed-in", "NAMESPACE or NAMESPACE/NAME of Kustomizations that may apply Secrets in clear all the same, with commas between them", func(s string) error {
		for in := range strings.SplitSeq(s, ",") {
			if in = strings.TrimSpace(in); in != "" {
				o.plaintext.AllowIn = append(o.plaintext.AllowIn, in)
			}
		}
		return nil
	})
}

// account parses --sync-account.
func (o *syncOptions) account() (apply.Account, error) {
	if o.syncAccount == "" {
		return apply.Account{}, nil
	}
	namespace, name, ok := strings.Cut(o.syncAccount, "/")
	if !ok || namespace == "" || name == "" {
		return apply.Account{}, fmt.Errorf("--sync-account %q: want NAMESPACE/NAME", o.syncAccount)
	}
	return apply.Account{Namespace: namespace, Name: name}, nil
}
