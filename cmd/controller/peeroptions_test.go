package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
)

// peerFlags are all flags of the controller of Sealed Secrets, with a value
// that is not the default, and what it means here.
// Source: controller --help of bitnami-labs/sealed-secrets v0.36.6, and
// --metrics-omit-secret-labels of v0.39.
var peerFlags = map[string]struct {
	value string
	means func(o *options) bool
	vain  bool // it is accepted, and without effect
}{
	"accept-deprecated-v1-data": {"false", func(o *options) bool { return !o.acceptV1Data }, false},
	"additional-namespaces":     {"a,b", func(o *options) bool { return o.namespaces == "a,b" }, false},
	"all-namespaces":            {"false", func(o *options) bool { return !o.allNamespaces }, false},
	"key-cutoff-time":           {"Mon, 02 Jan 2006 15:04:05 +0000", func(o *options) bool { r, err := o.renewal(); return err == nil && r.Cutoff.Unix() == 1136214245 }, false},
	"key-order-priority": {"SecretCreationTimestamp", func(o *options) bool {
		r, err := o.renewal()
		return err == nil && r.Order == "SecretCreationTimestamp"
	}, false},
	"key-prefix":                 {"mykey", func(o *options) bool { return o.keyPrefix == "mykey" }, false},
	"key-renew-period":           {"1h", func(o *options) bool { return o.renewPeriod == time.Hour }, false},
	"key-size":                   {"2048", func(o *options) bool { return o.keySize == 2048 }, false},
	"key-ttl":                    {"48h", func(o *options) bool { return o.keyTTL == 48*time.Hour }, false},
	"kubeclient-burst":           {"70", func(o *options) bool { return limited(o).Burst == 70 }, false},
	"kubeclient-qps":             {"7.5", func(o *options) bool { return limited(o).QPS == 7.5 }, false},
	"label-selector":             {"team=a", func(o *options) bool { s, err := o.picked(); return err == nil && s.String() == "team=a" }, false},
	"listen-addr":                {":9080", func(o *options) bool { return o.sealingAddr == ":9080" }, false},
	"listen-metrics-addr":        {":8081", func(o *options) bool { return o.metricsAddr == ":8081" && o.healthAddr == otherHealthAddr }, false},
	"log-format":                 {"text", func(o *options) bool { return o.logFormat == "text" }, false},
	"log-info-stdout":            {"true", nil, true},
	"log-level":                  {"ERROR", func(o *options) bool { return o.setLogger() == nil }, false},
	"max-unseal-retries":         {"9", nil, true},
	"metrics-omit-secret-labels": {"true", func(o *options) bool { return o.omitLabels }, false},
	"my-cn":                      {"me", func(o *options) bool { r, err := o.renewal(); return err == nil && r.CommonName == "me" }, false},
	"old-gc-behavior":            {"true", nil, true},
	"privatekey-annotations":     {"a=b", func(o *options) bool { r, err := o.renewal(); return err == nil && r.Annotations["a"] == "b" }, false},
	"privatekey-labels":          {"a=b", func(o *options) bool { r, err := o.renewal(); return err == nil && r.Labels["a"] == "b" }, false},
	"rate-limit":                 {"3", func(o *options) bool { return o.rateLimit == 3 }, false},
	"rate-limit-burst":           {"4", func(o *options) bool { return o.rateBurst == 4 }, false},
	"read-timeout":               {"5m", func(o *options) bool { return o.readTimeout == 5*time.Minute }, false},
	"rotate-period":              {"3h", func(o *options) bool { r, err := o.renewal(); return err == nil && r.RenewPeriod == 3*time.Hour }, false},
	"skip-recreate":              {"true", nil, true},
	"update-status":              {"false", nil, true},
	"version":                    {"true", func(o *options) bool { return o.version }, false},
	"watch-for-secrets":          {"false", nil, true},
	"write-timeout":              {"6m", func(o *options) bool { return o.writeTimeout == 6*time.Minute }, false},
}

func limited(o *options) rest.Config {
	c := rest.Config{}
	o.limit(&c)
	return c
}

// Each flag of Sealed Secrets is taken, as a flag in both forms and from the
// environment, and means what it does there or is named as without effect.
func TestPeerFlags(t *testing.T) {
	for name, tc := range peerFlags {
		variable := "SEALED_SECRETS_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		forms := map[string][]string{"Environment": nil, "Flag": {"--" + name + "=" + tc.value}, "TwoArguments": {"--" + name, tc.value}}
		if tc.value == "true" || tc.value == "false" {
			delete(forms, "TwoArguments")
		}
		for form, args := range forms {
			t.Run(name+"/"+form, func(t *testing.T) {
				if args == nil {
					t.Setenv(variable, tc.value)
				}
				o, err := parse(append([]string{"--namespace=own"}, args...))
				if err != nil {
					t.Fatal(err)
				}
				if tc.means != nil && !tc.means(o) {
					t.Errorf("--%s %s: the options are %+v", name, tc.value, o)
				}
				var want []string
				if tc.vain {
					want = []string{name}
				}
				if diff := cmp.Diff(want, o.inVain()); diff != "" {
					t.Errorf("flags in vain (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// What the chart of Sealed Secrets says with its own values starts, without a
// word but about what is not done.
func TestPeerDeployment(t *testing.T) {
	o, err := parse(append([]string{"--namespace=kube-system"}, strings.Fields("--update-status --skip-recreate --key-renew-period 0 --key-prefix sealed-secrets-key "+
		"--additional-namespaces a,b --privatekey-labels x=1,y=2 --log-info-stdout --log-level INFO --log-format json --listen-addr :8080 --listen-metrics-addr :8081 "+
		"--max-unseal-retries 5 --watch-for-secrets --kubeclient-qps 5 --kubeclient-burst 10")...))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"log-info-stdout", "max-unseal-retries", "skip-recreate"}, o.inVain()); diff != "" {
		t.Errorf("flags in vain (-want +got):\n%s", diff)
	}
}

func TestPeerFlagsRefuse(t *testing.T) {
	for _, arg := range []string{"--max-unseal-retries=few", "--skip-recreate=perhaps", "--log-format=xml", "--kubeclient-qps=fast", "--read-timeout=1"} {
		if _, err := parse([]string{"--namespace=own", arg}); err == nil {
			t.Errorf("%s: no error", arg)
		}
	}
	o, err := parse([]string{"--namespace=own", "--health-addr=:8081", "--metrics-addr=:8081"})
	if err != nil || o.healthAddr != ":8081" {
		t.Errorf("an address that was chosen is %s, %v", o.healthAddr, err)
	}
}

// Without a flag the namespace is that of the Pod.
func TestOwnNamespace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "namespace")
	if err := os.WriteFile(file, []byte("of-the-token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("POD_NAMESPACE", "")
	if got := ownNamespace(file); got != "of-the-token" {
		t.Errorf("by the token it is %q", got)
	}
	if got := ownNamespace(file + ".missing"); got != "" {
		t.Errorf("outside of a Pod it is %q", got)
	}
	t.Setenv("POD_NAMESPACE", "of-the-pod")
	if got := ownNamespace(file); got != "of-the-pod" {
		t.Errorf("by the variable it is %q", got)
	}
}
