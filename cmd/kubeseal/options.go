package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // the ways to log in that a kubeconfig can name
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

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
	completion          string
	help                bool
	version             bool

	program   string                    // as it was called
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
	fs.BoolVar(&o.validate, "validate", false, "Validate that the sealed secret can be decrypted")
	fs.StringVar(&o.mergeInto, "merge-into", "", "Merge items from secret into an existing sealed secret file, updating the file in-place instead of writing to stdout.")
	fs.BoolVar(&o.raw, "raw", false, "Encrypt a raw value passed via the --from-* flags instead of the whole secret object")
	fs.StringVar(&o.name, "name", "", "Name of the sealed secret (required with --raw and default (strict) scope)")
	fs.StringSliceVar(&o.fromFile, "from-file", nil, "(only with --raw) Secret items can be sourced from files. Pro-tip: you can use /dev/stdin to read pipe input. This flag tries to follow the same syntax as in kubectl")
	fs.StringVar(&o.kubeconfig, "kubeconfig", "", "Path to a kube config. Only required if out-of-cluster")
	fs.Var(&o.scope, "scope", "Set the scope of the sealed secret: strict, namespace-wide, cluster-wide (defaults to strict). Mandatory for --raw, otherwise the 'sealedsecrets.bitnami.com/cluster-wide' and 'sealedsecrets.bitnami.com/namespace-wide' annotations on the input secret can be used to select the scope.")
	fs.BoolVar(&o.reEncrypt, "rotate", false, "")
	fs.BoolVar(&o.reEncrypt, "re-encrypt", false, "Re-encrypt the given sealed secret to use the latest cluster key.")
	_ = fs.MarkDeprecated("rotate", "please use --re-encrypt instead") // the flag is two lines above
	fs.BoolVar(&o.recoveryUnseal, "recovery-unseal", false, "Decrypt a sealed secrets file obtained from stdin, using the private key passed with --recovery-private-key. Intended to be used in disaster recovery mode.")
	fs.StringSliceVar(&o.recoveryKeys, "recovery-private-key", nil, "Private key filename used by the --recovery-unseal command. Multiple files accepted either via comma separated list or by repetition of the flag. Either PEM encoded private keys or a backup of a json/yaml encoded k8s sealed-secret controller secret (and v1.List) are accepted. ")
	fs.BoolVar(&o.help, "help", false, "Print this help message")
	fs.StringVar(&o.completion, "completion", "", "Print the completion script of a shell: bash, zsh or fish")
	_ = fs.MarkHidden("completion") // the genuine kubeseal has none, and its --help is compared by scripts
	clientcmd.BindOverrideFlags(&o.overrides, fs, clientcmd.RecommendedConfigOverrideFlags(""))
	return o
}

// parse reads the environment, then the command line, which wins. It says
// what is wrong as the genuine kubeseal does, whose flag library writes to both
// streams.
func (o *options) parse(args []string, s streams) error {
	o.flags.SetOutput(s.out)
	o.flags.VisitAll(func(f *pflag.Flag) {
		name := envPrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if value, ok := os.LookupEnv(name); ok {
			_ = f.Value.Set(value) // the genuine kubeseal ignores what it cannot read
		}
	})
	// The flags of the log have no environment.
	logs := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(logs)
	o.flags.AddGoFlagSet(logs)
	o.flags.Usage = func() {
		fmt.Fprintf(s.err, "Usage of %s:\n", o.program)
		fmt.Fprint(s.out, o.flags.FlagUsages())
	}
	err := o.flags.Parse(args)
	if err == nil || errors.Is(err, pflag.ErrHelp) {
		return err
	}
	o.flags.Usage()
	fmt.Fprintln(s.out, err)
	return errUsage
}

func (o *options) usage(w io.Writer) {
	fmt.Fprintf(w, "Usage of %s:\n%s", o.program, o.flags.FlagUsages())
}

// client returns the configuration of kubectl.
func (o *options) client() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.DefaultClientConfig = &clientcmd.DefaultClientConfig
	rules.ExplicitPath = o.kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &o.overrides)
}
