package main

import (
	"errors"
	"flag"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
)

// peerOptions are what else a Deployment of Sealed Secrets says, so that it can
// be moved as it is: some under another name here, some without a meaning.
type peerOptions struct {
	qps                       float64
	burst                     int
	readTimeout, writeTimeout time.Duration
	omitLabels                bool

	idle map[string]bool // names of flags that were given and have no effect
}

// idleFlags are the flags of Sealed Secrets without an effect here: the value
// that says what is done in any case, and why that is so.
// Source: cmd/controller/main.go of bitnami-labs/sealed-secrets v0.36.6.
var idleFlags = map[string]struct{ is, why string }{
	"max-unseal-retries": {"", "what fails is tried again for as long as it takes"},
	"update-status":      {"true", "the status remembers what was opened, and is always written"},
	"watch-for-secrets":  {"true", "the Secrets of sealing keys are always watched"},
	"skip-recreate":      {"false", "a Secret that is deleted or edited is always put right"},
	"old-gc-behavior":    {"false", "Kubernetes deletes the Secrets of a deleted SealedSecret"},
	"log-info-stdout":    {"false", "everything is logged to standard error"},
}

func (o *peerOptions) bind(fs *flag.FlagSet, own *options) {
	fs.StringVar(&own.sealingAddr, "listen-addr", own.sealingAddr, "as Sealed Secrets calls --sealing-addr")
	fs.StringVar(&own.metricsAddr, "listen-metrics-addr", own.metricsAddr, "as Sealed Secrets calls --metrics-addr")
	fs.DurationVar(&o.readTimeout, "read-timeout", 10*time.Second, "how long a request to the API of kubeseal may take to arrive")
	fs.DurationVar(&o.writeTimeout, "write-timeout", time.Minute, "how long its answer may take")
	fs.Float64Var(&o.qps, "kubeclient-qps", -1, "requests a second to the API server; below 0 leaves the limit to it")
	fs.IntVar(&o.burst, "kubeclient-burst", 10, "requests at once beyond --kubeclient-qps")
	fs.BoolVar(&o.omitLabels, "metrics-omit-secret-labels", false, "name no SealedSecret and no namespace in the metrics")
	o.idle = map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(idleFlags)) {
		f := idleFlags[name]
		usage := "without effect, for Deployments of Sealed Secrets: " + f.why
		if f.is == "" {
			fs.Func(name, usage, func(value string) error {
				o.idle[name] = true
				_, err := strconv.Atoi(value)
				return err
			})
			continue
		}
		fs.BoolFunc(name, usage, func(value string) error {
			is, err := strconv.ParseBool(value)
			o.idle[name] = strconv.FormatBool(is) != f.is
			return err
		})
	}
}

// inVain returns the flags that were given, and ask for what is not done.
func (o *peerOptions) inVain() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(o.idle)), func(name string) bool { return !o.idle[name] })
}

// tellIdle says so, once.
func (o *peerOptions) tellIdle() {
	for _, name := range o.inVain() {
		ctrl.Log.Info("--"+name+" has no effect here", "because", idleFlags[name].why)
	}
}

// limit bounds the requests to the API server, if that is wanted. Otherwise its
// own flow control decides, not a limiter in here.
func (o *peerOptions) limit(config *rest.Config) {
	config.QPS, config.Burst = float32(o.qps), o.burst
}

// standAside moves the health checks off the address of the metrics, where
// Sealed Secrets has them, unless someone chose it for them.
func (o *options) standAside(fs *flag.FlagSet) {
	chosen := false
	fs.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "health-addr" })
	if !chosen && o.healthAddr == o.metricsAddr {
		o.healthAddr = otherHealthAddr
	}
}

// otherHealthAddr is where the health checks are if the metrics are at :8081.
const otherHealthAddr = ":8082"

// namespaceFile names the namespace of a Pod, in every Pod with a token.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// ownNamespace returns the namespace that the controller runs in, empty if
// nothing says so.
func ownNamespace(file string) string {
	if name := os.Getenv("POD_NAMESPACE"); name != "" {
		return name
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "" // not in a Pod
	}
	return strings.TrimSpace(string(text))
}

// logFormat is a flag: json, or text for people.
type logFormat string

// String implements flag.Value.
func (f *logFormat) String() string { return string(*f) }

// Set implements flag.Value.
func (f *logFormat) Set(text string) error {
	if *f = logFormat(strings.ToLower(text)); *f != "json" && *f != "text" {
		return errors.New("use json or text")
	}
	return nil
}
