package main

import (
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/lockstep-dev/lockstep/reconciler/apply"
	"github.com/lockstep-dev/lockstep/reconciler/decrypt"
	"github.com/lockstep-dev/lockstep/reconciler/kustomization"
	"github.com/lockstep-dev/lockstep/reconciler/render/detect"
)

// syncOptions are the settings of the sync core.
type syncOptions struct {
	syncAccount           string
	defaultServiceAccount string
	permissive            bool
	plaintext             kustomization.Plaintext
	decryption            decrypt.Settings
	ageSecret             string
	override              []string
}

func (o *syncOptions) bind(fs *flag.FlagSet) {
	fs.StringVar(&o.syncAccount, "sync-account", "", "NAMESPACE/NAME of the ServiceAccount that applies for a Kustomization without a serviceAccountName; empty is the controller's own")
	fs.StringVar(&o.defaultServiceAccount, "default-service-account", "", "NAME of the ServiceAccount, in the Kustomization's own namespace, that applies for one without a serviceAccountName; goes before --sync-account")
	fs.BoolVar(&o.permissive, "permissive-sync", false, "apply a Kustomization without a serviceAccountName with the controller's own rights, and allow references to other namespaces, as Flux does by default; excludes --sync-account and --default-service-account")
	fs.Func("override-manager", "field manager whose fields of applied objects are taken over like those of kubectl and Helm: one that is so called, or whose name begins so; repeat it, or put commas between them", names(&o.override))
	o.plaintext.Policy = kustomization.Refuse
	fs.Func("plaintext-secrets", "what to do about a Secret that is in clear in a source: refuse, warn or allow (default refuse)", func(s string) (err error) {
		o.plaintext.Policy, err = kustomization.ParsePolicy(s)
		return err
	})
	fs.Func("plaintext-secrets-allowed-in", "NAMESPACE or NAMESPACE/NAME of Kustomizations that may apply Secrets and credentials in clear all the same, with commas between them", names(&o.plaintext.AllowIn))
	fs.Func("plaintext-values", "what to do about values of ConfigMaps, env and args that look like credentials: refuse, warn or allow (default warn)", func(s string) (err error) {
		o.plaintext.Values, err = kustomization.ParsePolicy(s)
		return err
	})
	fs.Func("plaintext-values-ignored-rules", "rules, as the warnings name them, that are not asked, with commas between them", func(s string) error {
		if err := names(&o.plaintext.IgnoreRules)(s); err != nil {
			return err
		}
		for _, rule := range o.plaintext.IgnoreRules {
			if !detect.Known(rule) {
				return fmt.Errorf("there is no rule %q: a warning names its rule", rule)
			}
		}
		return nil
	})
	fs.Func("sops-vault-addresses", "addresses of Vault and OpenBao that files encrypted with SOPS may have decrypted at, such as https://vault.example.com:8200, with commas between them; a token goes to no other", func(s string) error {
		vaults, err := decrypt.ParseVaults(s)
		o.decryption.Vaults = append(o.decryption.Vaults, vaults...)
		return err
	})
	fs.StringVar(&o.ageSecret, "sops-age-secret", "", "name of a Secret in the controller's namespace whose *.agekey open files for every Kustomization with spec.decryption; who may commit to any of them can then have them opened")
	fs.Func("sops-ignore-mac-in", "NAMESPACE or NAMESPACE/NAME of Kustomizations whose files encrypted with SOPS are taken although they were changed afterwards, with commas between them", names(&o.decryption.IgnoreMACIn))
}

// names appends the parts of a list with commas between them.
func names(into *[]string) func(string) error {
	return func(s string) error {
		for name := range strings.SplitSeq(s, ",") {
			if name = strings.TrimSpace(name); name != "" {
				*into = append(*into, name)
			}
		}
		return nil
	}
}

// checkPermissive returns an error if a flag that was given contradicts
// --permissive-sync. It sets what that stands for.
func (o *options) checkPermissive(fs *flag.FlagSet) error {
	if !o.sync.permissive {
		return nil
	}
	for name, value := range map[string]string{"sync-account": o.sync.syncAccount, "default-service-account": o.sync.defaultServiceAccount} {
		if value != "" {
			return fmt.Errorf("--permissive-sync and --%s=%s contradict each other: the former applies with the controller's own rights, the latter as that account; leave one out", name, value)
		}
	}
	var err error
	fs.Visit(func(f *flag.Flag) {
		if f.Name == "allow-cross-namespace-refs" && !o.allowCrossNamespaceRefs {
			err = errors.New("--permissive-sync and --allow-cross-namespace-refs=false contradict each other: the former allows such references; leave one out")
		}
	})
	o.allowCrossNamespaceRefs = true
	return err
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
