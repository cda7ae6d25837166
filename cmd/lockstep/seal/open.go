package seal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/cmd/internal/cluster"
	"github.com/lockstep-dev/lockstep/cmd/internal/manifest"
	"github.com/lockstep-dev/lockstep/reconciler/sealedsecret"
	"github.com/lockstep-dev/lockstep/sealer"
)

// opening is one run of open.
type opening struct {
	keyFiles
	item      string
	format    string
	namespace string
}

func openCmd() *cobra.Command {
	o := &opening{}
	cmd := &cobra.Command{
		Use:   "open [FILE]",
		Short: "Open a sealed file with a private key, where there is no cluster to do so",
		Long: `Open the SealedSecrets of a file, or of the standard input, with private keys
that were backed up, and print the Secrets that the controller would write:
templates are rendered. What it prints is secret.`,
		Example: `  lockstep open db.yaml --key keys.age --identity age.txt
  lockstep open db.yaml --key key-secrets.yaml
  lockstep open db.yaml --key offline.key --item password`,
		Args: cluster.Args(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), args)
		},
	}
	o.bind(cmd)
	flags := cmd.Flags()
	flags.StringVar(&o.item, "item", "", "print the value of this item only, as it is")
	flags.StringVarP(&o.format, "output", "o", "yaml", "yaml or json")
	flags.StringVarP(&o.namespace, "namespace", "n", "", "namespace of a SealedSecret that names none")
	return cmd
}

func (o *opening) run(ctx context.Context, stdin io.Reader, stdout io.Writer, args []string) error {
	ring, err := o.read()
	if err != nil {
		return err
	}
	in := stdin
	if len(args) == 1 {
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	all, err := readSealed(in)
	if err != nil {
		return err
	}
	if o.item != "" && len(all) != 1 {
		return fmt.Errorf("--item is for a file with one SealedSecret, and this one has %d", len(all))
	}
	var out bytes.Buffer
	for _, ss := range all {
		if err := o.one(ctx, &out, ring, ss); err != nil {
			return fmt.Errorf("SealedSecret %s: %w", ss.Name, err)
		}
	}
	_, err = stdout.Write(out.Bytes())
	return err
}

// one opens one SealedSecret as the controller does. The Secret has no owner: it
// would go with the SealedSecret of a cluster that it is not in.
func (o *opening) one(ctx context.Context, out io.Writer, ring *sealer.Keyring, ss *bitnamiv1alpha1.SealedSecret) error {
	if ss.Namespace == "" {
		ss.Namespace = o.namespace
	}
	if text, ok := ss.Spec.EncryptedData[o.item]; ok && o.item != "" {
		at := sealer.Binding{Namespace: ss.Namespace, Name: ss.Name, Scope: manifest.ScopeOf(ss)}
		opened, err := ring.OpenItem(text, sealer.Place{Binding: at, Item: o.item}, "")
		if err != nil {
			return err
		}
		_, err = out.Write(opened.Value)
		return err
	}
	secret, err := sealedsecret.Open(ctx, ss, ring)
	if err != nil {
		return err
	}
	if o.item != "" {
		value, ok := secret.Data[o.item]
		if !ok {
			return fmt.Errorf("it has no item %q", o.item)
		}
		_, err = out.Write(value)
		return err
	}
	secret.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}
	secret.OwnerReferences = nil
	return printObject(out, o.format, secret)
}

// readSealed reads SealedSecrets, those in Lists too; other documents are left
// out.
func readSealed(in io.Reader) ([]*bitnamiv1alpha1.SealedSecret, error) {
	decoder := yaml.NewYAMLOrJSONDecoder(io.LimitReader(in, manifest.MaxInput), 4096)
	var all []*bitnamiv1alpha1.SealedSecret
	for n := 1; ; n++ {
		var document json.RawMessage
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			// Without the reason: it repeats the line, which may hold a value.
			return nil, fmt.Errorf("document %d is not a manifest in YAML or JSON", n)
		}
		if all, err = appendSealed(all, document); err != nil {
			return nil, fmt.Errorf("document %d: %w", n, err)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("the input holds no SealedSecret")
	}
	return all, nil
}

func appendSealed(all []*bitnamiv1alpha1.SealedSecret, document json.RawMessage) ([]*bitnamiv1alpha1.SealedSecret, error) {
	var kind struct {
		Kind  string            `json:"kind"`
		Items []json.RawMessage `json:"items"`
	}
	if len(document) == 0 {
		return all, nil
	}
	if err := json.Unmarshal(document, &kind); err != nil {
		return nil, fmt.Errorf("it is no object of Kubernetes%s", wrongType(err))
	}
	if kind.Kind == bitnamiv1alpha1.SealedSecretKind {
		ss := &bitnamiv1alpha1.SealedSecret{}
		if err := json.Unmarshal(document, ss); err != nil {
			return nil, fmt.Errorf("SealedSecret %s%s", nameIn(document), wrongType(err))
		}
		return append(all, ss), nil
	}
	if !strings.HasSuffix(kind.Kind, "List") {
		return all, nil
	}
	for _, item := range kind.Items {
		var err error
		if all, err = appendSealed(all, item); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// wrongType says which field cannot be read and what to do. It repeats nothing
// of what is there.
func wrongType(err error) string {
	t, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok || t.Field == "" {
		return ": a field is of the wrong type; kubectl explain sealedsecret.spec says what each one is"
	}
	return fmt.Sprintf(": %s is of the wrong type; kubectl explain sealedsecret.%s says what it is", t.Field, t.Field)
}

// nameIn returns the namespace and name of an object, whatever else it holds.
func nameIn(document json.RawMessage) string {
	var o struct {
		Metadata json.RawMessage `json:"metadata"`
	}
	var at struct {
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	}
	if json.Unmarshal(document, &o) != nil || json.Unmarshal(o.Metadata, &at) != nil || at.Name == "" {
		return "without a name"
	}
	if at.Namespace == "" {
		return at.Name
	}
	return at.Namespace + "/" + at.Name
}
