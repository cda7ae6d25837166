package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/lockstep-dev/lockstep/sealer"
)

// envPrefix, followed by a flag in capitals with underscores, sets that flag
// where the command line does not.
const envPrefix = "SEALED_SECRETS_"

// options are the flags of kubeseal v0.36.6, with its words.
type options struct {
	cert                string
	controllerNamespace string
	controllerName      string
	format              string
	outputFile          string
	inputFile           string
	kubeconfig          string
	fetchCert           bool
	allowEmptyData      bool
	validate            bool
	mergeInto           string
	raw                 bool
	name                string
	fromFile            []string
	scope               scopeFlag
	reEncrypt           bool
	recoveryUnseal      bool
	recoveryKeys        []string
	help                bool
	version             bool

	overrides clientcmd.ConfigOverrides // kubectl's flags: --namespace, --context and their like
	flags     *pflag.FlagSet
}

// scopeFlag is a sealer.Scope as a flag.
type scopeFlag struct{ sealer.Scope }

// Set implements pflag.Value.
func (s *scopeFlag) Set(text string) error {
	scope, err := sealer.ParseScope(text)
	if err != nil {
		return errors.New("must be one of: strict, namespace-wide, cluster-wide")
	}
	s.Scope = scope
	return nil
}

// Type implements pflag.Value.
func (*scopeFlag) Type() string { return "string" }

func newOptions() *options {
	o := &options{flags: pflag.NewFlagSet("kubeseal", pflag.ContinueOnError)}
	fs := o.flags
	fs.BoolVar(&o.version, "version", false, "Print version information and exit")
	fs.StringVar(&o.cert, "cert", "", "Certificate / public key file/URL to use for encryption. Overrides --controller-*")
	fs.StringVar(&o.controllerNamespace, "controller-namespace", metav1.NamespaceSystem, "Namespace of sealed-secrets controller.")
	fs.StringVar(&o.controllerName, "controller-name", "sealed-secrets-controller", "Name of sealed-secrets controller.")
	fs.StringVarP(&o.format, "format", "o", "json", "Output format for sealed secret. Either json or yaml")
	fs.StringVarP(&o.outputFile, "sealed-secret-file", "w", "", "Sealed-secret (output) file")
	fs.StringVarP(&o.inputFile, "secret-file", "f", "", "Secret (input) file")
	fs.BoolVar(&o.fetchCert, "fetch-cert", false, "Write certificate to stdout. Useful for later use with --cert")
	fs.BoolVar(&o.allowEmptyData, "allow-empty-data", false, "Allow empty data in the secret object")
	fs.BoolVar(&o.validate, "validate", false, "Validate that the sealed secret can be decrypted (not supported yet)")
	fs.StringVar(&o.mergeInto, "merge-into", "", "Merge items from secret into an existing sealed secret file, updating the file in-place instead of writing to stdout.")
	fs.BoolVar(&o.raw, "raw", false, "Encrypt a raw value passed via the --from-* flags instead of the whole secret object")
	fs.StringVar(&o.name, "name", "", "Name of the sealed secret (required with --raw and default (strict) scope)")
	fs.StringSliceVar(&o.fromFile, "from-file", nil, "(only with --raw) Secret items can be sourced from files. Pro-tip: you can use /dev/stdin to read pipe input. This flag tries to follow the same syntax as in kubectl")
	fs.StringVar(&o.kubeconfig, "kubeconfig", "", "Path to a kube config. Only required if out-of-cluster")
	fs.Var(&o.scope, "scope", "Set the scope of the sealed secret: strict, namespace-wide, cluster-wide (defaults to strict). Mandatory for --raw, otherwise the 'sealedsecrets.bitnami.com/cluster-wide' and 'sealedsecrets.bitnami.com/namespace-wide' annotations on the input secret can be used to select the scope.")
	fs.BoolVar(&o.reEncrypt, "rotate", false, "")
	fs.BoolVar(&o.reEncrypt, "re-encrypt", false, "Re-encrypt the given sealed secret to use the latest cluster key (not supported yet).")
	_ = fs.MarkDeprecated("rotate", "please use --re-encrypt instead") // the flag is two lines above
	fs.BoolVar(&o.recoveryUnseal, "recovery-unseal", false, "Decrypt a sealed secrets file obtained from stdin, using the private key passed with --recovery-private-key (not supported yet).")
	fs.StringSliceVar(&o.recoveryKeys, "recovery-private-key", nil, "Private key filename used by the --recovery-unseal command (not supported yet).")
	fs.BoolVar(&o.help, "help", false, "Print this help message")
	clientcmd.BindOverrideFlags(&o.overrides, fs, clientcmd.RecommendedConfigOverrideFlags(""))
	return o
}

// parse reads the environment, then the command line, which wins.
func (o *options) parse(args []string, s streams) error {
	o.flags.SetOutput(s.err)
	var failed error
	o.flags.VisitAll(func(f *pflag.Flag) {
		name := envPrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if value, ok := os.LookupEnv(name); ok && failed == nil {
			if err := o.flags.Set(f.Name, value); err != nil {
				failed = fmt.Errorf("%s: %w", name, err)
			}
		}
	})
	if failed != nil {
		return failed
	}
	o.flags.Usage = func() { o.usage(s.err) }
	err := o.flags.Parse(args)
	if err == nil || errors.Is(err, pflag.ErrHelp) {
		return err
	}
	fmt.Fprintf(s.err, "%v\nRun 'kubeseal --help' for the flags there are.\n", err)
	return errUsage
}

func (o *options) usage(w io.Writer) {
	fmt.Fprintf(w, "Usage of kubeseal:\n%s", o.flags.FlagUsages())
}

// unsupported refuses by name what is not there yet.
func (o *options) unsupported() error {
	for _, f := range []struct {
		set  bool
		flag string
		way  string
	}{
		{o.validate, "--validate", "apply the SealedSecret with kubectl apply --dry-run=server, and see its Synced condition after it is applied"},
		{o.reEncrypt, "--re-encrypt", "seal the Secret again with the newest certificate"},
		{o.recoveryUnseal, "--recovery-unseal", "use the kubeseal of Sealed Secrets, which reads the same keys and files"},
		{len(o.recoveryKeys) > 0, "--recovery-private-key", "use the kubeseal of Sealed Secrets, which reads the same keys and files"},
	} {
		if f.set {
			return fmt.Errorf("%s is not supported by this kubeseal yet: %s", f.flag, f.way)
		}
	}
	return nil
}

// client returns the configuration of kubectl.
func (o *options) client() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.DefaultClientConfig = &clientcmd.DefaultClientConfig
	rules.ExplicitPath = o.kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &o.overrides)
}
