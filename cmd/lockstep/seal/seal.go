package seal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	sigsyaml "sigs.k8s.io/yaml"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/cmd/internal/cluster"
	"github.com/lockstep-dev/lockstep/cmd/internal/manifest"
	"github.com/lockstep-dev/lockstep/sealer"
)

// sealing is one run of seal.
type sealing struct {
	trust
	sources
	in, out    string
	format     string
	namespace  string
	scope      string
	secretType string
}

func sealCmd() *cobra.Command {
	s := &sealing{}
	cmd := &cobra.Command{
		Use:   "seal [NAME]",
		Short: "Seal values for a cluster",
		Long: `Seal a Secret, so that only the cluster can open it, and it can be committed.

Without NAME, Secrets are read as manifests; with NAME, a Secret of that name is
made of what --from-literal, --from-file and --from-env-file give.`,
		Example: `  kubectl create secret generic db --dry-run=client -o yaml --from-literal=password=... | lockstep seal -w db.yaml
  lockstep seal db -n prod --from-env-file db.env -w db.yaml
  lockstep seal set db.yaml password < password.txt`,
		Args: cluster.Args(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s.errs = cmd.ErrOrStderr()
			return s.run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), args)
		},
	}
	s.bind(cmd)
	flags := cmd.Flags()
	flags.StringVarP(&s.in, "file", "f", "", "file with the Secrets (default: standard input)")
	flags.StringVarP(&s.out, "write", "w", "", "file to write (default: standard output)")
	flags.StringVarP(&s.format, "output", "o", "", "yaml or json (default: as the file to write is named, or yaml)")
	flags.StringVarP(&s.namespace, "namespace", "n", "", "namespace of the Secret (default: that of the manifest, or of the kubeconfig's context)")
	flags.StringVar(&s.scope, "scope", "", "strict, namespace-wide or cluster-wide (default: as the manifest is annotated, or strict)")
	flags.StringVar(&s.secretType, "type", "", "type of the Secret that NAME makes")
	flags.StringArrayVar(&s.literals, "from-literal", nil, "ITEM=VALUE")
	flags.StringArrayVar(&s.files, "from-file", nil, "[ITEM=]FILE; the item is named as the file by default; - is the standard input")
	flags.StringArrayVar(&s.envFiles, "from-env-file", nil, "file with lines of ITEM=VALUE")
	cmd.AddCommand(setCmd(), fetchCmd(), keygenCmd())
	return cmd
}

// maxObject is the largest object in bytes that etcd takes by default.
// Source: https://etcd.io/docs/v3.6/dev-guide/limit/
const maxObject = 3 << 19

func (s *sealing) run(ctx context.Context, stdin io.Reader, stdout io.Writer, args []string) error {
	secrets, err := s.secrets(stdin, args)
	if err != nil {
		return err
	}
	for _, secret := range secrets {
		if err := s.complete(secret); err != nil {
			return err
		}
	}
	to, err := s.resolve(ctx)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	for _, secret := range secrets {
		ss, err := sealed(secret, to)
		if err != nil {
			return fmt.Errorf("seal Secret %s: %w", secret.Name, err)
		}
		before := out.Len()
		if err := s.print(&out, ss); err != nil {
			return err
		}
		if size := out.Len() - before; size > maxObject {
			fmt.Fprintf(s.errs, "lockstep: SealedSecret %s has %d bytes, and a cluster takes %d at most: seal fewer or smaller items\n", ss.Name, size, maxObject)
		}
	}
	if s.out != "" {
		return manifest.ReplaceFile(s.out, out.Bytes(), 0o644)
	}
	_, err = stdout.Write(out.Bytes())
	return err
}

// secrets returns what is to be sealed.
func (s *sealing) secrets(stdin io.Reader, args []string) ([]*corev1.Secret, error) {
	if len(args) == 0 {
		return s.manifests(stdin)
	}
	if _, err := os.Stat(args[0]); err == nil && !s.any() {
		return nil, fmt.Errorf("%w: %s is a file: did you mean lockstep seal -f %[2]s?", errFlags, args[0])
	}
	if !s.any() || s.in != "" {
		return nil, fmt.Errorf("%w: NAME makes a Secret of --from-literal, --from-file and --from-env-file", errFlags)
	}
	if problems := validation.IsDNS1123Subdomain(args[0]); len(problems) > 0 {
		return nil, fmt.Errorf("%q is no name for a Secret: %s", args[0], strings.Join(problems, "; "))
	}
	data, err := s.read(stdin)
	return []*corev1.Secret{{ObjectMeta: metav1.ObjectMeta{Name: args[0]}, Type: corev1.SecretType(s.secretType), Data: data}}, err
}

// manifests reads Secrets.
func (s *sealing) manifests(stdin io.Reader) ([]*corev1.Secret, error) {
	if s.any() {
		return nil, fmt.Errorf("%w: --from-literal and its like make a Secret, and it has no name: lockstep seal NAME --from-literal", errFlags)
	}
	if s.in != "" {
		f, err := os.Open(s.in)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return readSecrets(f)
	}
	if f, ok := stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprintln(s.errs, "lockstep: reading a Secret in YAML or JSON from the terminal; end it with Ctrl-D")
	}
	return readSecrets(stdin)
}

// complete gives a Secret the namespace and the scope of the flags.
func (s *sealing) complete(secret *corev1.Secret) error {
	if secret.Name == "" {
		return errors.New("the Secret has no metadata.name")
	}
	if len(secret.Data)+len(secret.StringData) == 0 {
		return fmt.Errorf("no items in Secret %s: put them into data or stringData", secret.Name)
	}
	scope := manifest.ScopeOf(secret)
	if s.scope != "" {
		var err error
		if scope, err = sealer.ParseScope(s.scope); err != nil {
			return fmt.Errorf("--%w", err)
		}
	}
	secret.Annotations = manifest.WithScope(secret.Annotations, scope)
	switch {
	case s.namespace != "" && secret.Namespace != "" && secret.Namespace != s.namespace:
		return fmt.Errorf("--namespace says %[3]q, and Secret %[1]s is in namespace %[2]q", secret.Name, secret.Namespace, s.namespace)
	case s.namespace != "":
		secret.Namespace = s.namespace
	case secret.Namespace == "" && scope != sealer.ClusterWide:
		namespace, err := s.DefaultNamespace()
		if err != nil {
			return fmt.Errorf("the Secret has no namespace: say it with --namespace (%w)", err)
		}
		secret.Namespace = namespace
	}
	return nil
}

// sealed makes the SealedSecret.
func sealed(secret *corev1.Secret, to target) (*bitnamiv1alpha1.SealedSecret, error) {
	at := sealer.Binding{Namespace: secret.Namespace, Name: secret.Name, Scope: manifest.ScopeOf(secret)}
	secret.ManagedFields = nil // of the server that it was read from
	return manifest.Sealed(secret, func(item string, value []byte) (string, error) {
		return to.seal(value, sealer.Place{Binding: at, Item: item})
	})
}

// print writes a manifest without what a person would not write.
func (s *sealing) print(out io.Writer, o any) error {
	format := s.format
	if format == "" && filepath.Ext(s.out) == ".json" {
		format = "json"
	}
	return printObject(out, format, o)
}

func printObject(out io.Writer, format string, o any) error {
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		return err
	}
	switch format {
	case "json":
		text, err = json.MarshalIndent(fields, "", "  ")
		text = append(text, '\n')
	case "yaml", "":
		text, err = sigsyaml.Marshal(fields)
		text = append([]byte("---\n"), text...)
	default:
		return fmt.Errorf("--output %q: use yaml or json", format)
	}
	if err != nil {
		return err
	}
	_, err = out.Write(text)
	return err
}
