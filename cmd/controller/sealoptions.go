package main

import (
	"flag"
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/lockstep-dev/lockstep/reconciler"
)

// sealOptions are the settings of SealedSecrets, under the names of Sealed
// Secrets where it has them.
type sealOptions struct {
	acceptV1Data    bool
	allowPrivileged bool
	selector        string
	allNamespaces   bool
	namespaces      string // besides the controller's own
	rateLimit       float64
	rateBurst       int
}

func (o *sealOptions) bind(fs *flag.FlagSet) {
	fs.BoolVar(&o.acceptV1Data, "accept-deprecated-v1-data", true, "open spec.data of SealedSecrets, the form before Sealed Secrets v0.8")
	fs.BoolVar(&o.allowPrivileged, "allow-privileged-secrets", false, "let a SealedSecret become a token of a ServiceAccount, a bootstrap token or a sealing key")
	fs.StringVar(&o.selector, "label-selector", "", "serve only the SealedSecrets whose labels it picks")
	fs.BoolVar(&o.allNamespaces, "all-namespaces", true, "look at all namespaces; false is the controller's own only, for every kind of object")
	fs.StringVar(&o.namespaces, "additional-namespaces", "", "look only at these, NAME,..., and the controller's own, for every kind of object")
	fs.Float64Var(&o.rateLimit, "rate-limit", 20, "sealed values that the API of kubeseal opens in a second for one client; 0 does not limit them")
	fs.IntVar(&o.rateBurst, "rate-limit-burst", 200, "sealed values that it opens at once")
}

// picked returns the selector of SealedSecrets; nil picks all.
func (o *sealOptions) picked() (labels.Selector, error) {
	if o.selector == "" {
		return nil, nil
	}
	selector, err := labels.Parse(o.selector)
	if err != nil {
		return nil, fmt.Errorf("--label-selector %q: %w", o.selector, err)
	}
	return selector, nil
}

// watched returns the namespaces that are looked at; nil is all.
func (o *sealOptions) watched(own string) (map[string]cache.Config, error) {
	if o.allNamespaces && o.namespaces == "" {
		return nil, nil
	}
	all := map[string]cache.Config{own: {}}
	for name := range strings.SplitSeq(o.namespaces, ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		if errs := validation.IsDNS1123Label(name); len(errs) > 0 {
			return nil, fmt.Errorf("--additional-namespaces %q: %s", name, errs[0])
		}
		all[name] = cache.Config{}
	}
	return all, nil
}

// buildInfo tells the version under the metric's name in Sealed Secrets.
func buildInfo(version string) {
	reconciler.Register(prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "sealed_secrets_controller", Name: "build_info", Help: "Build information.",
		ConstLabels: prometheus.Labels{"revision": version},
	})).Set(1)
}
