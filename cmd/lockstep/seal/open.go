package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/reconciler/keys"
	"github.com/lockstep-dev/lockstep/sealer"
)

// opening is one run of open.
type opening struct {
	keys      []string
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
that were backed up, and print the Secrets. What it prints is secret.`,
		Example: `  lockstep open db.yaml --key backup.yaml
  lockstep open db.yaml --key offline.key --item password`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&o.keys, "key", nil, "file with private keys: in PEM, or key Secrets as kubectl prints them; may be given several times")
	flags.StringVar(&o.item, "item", "", "print the value of this item only, as it is")
	flags.StringVarP(&o.format, "output", "o", "yaml", "yaml or json")
	flags.StringVarP(&o.namespace, "namespace", "n", "", "namespace of a SealedSecret that names none")
	return cmd
}

func (o *opening) run(stdin io.Reader, stdout, stderr io.Writer, args []string) error {
	ring, err := readKeys(o.keys)
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
		if err := o.one(&out, stderr, ring, ss); err != nil {
			return fmt.Errorf("SealedSecret %s: %w", ss.Name, err)
		}
	}
	_, err = stdout.Write(out.Bytes())
	return err
}

func (o *opening) one(out, stderr io.Writer, ring *sealer.Keyring, ss *bitnamiv1alpha1.SealedSecret) error {
	if ss.Namespace == "" {
		ss.Namespace = o.namespace
	}
	at := sealer.Binding{Namespace: ss.Namespace, Name: ss.Name, Scope: scopeOf(ss)}
	if o.item != "" {
		text, ok := ss.Spec.EncryptedData[o.item]
		if !ok {
			return fmt.Errorf("it has no item %q", o.item)
		}
		opened, err := ring.OpenItemToReseal(text, sealer.Place{Binding: at, Item: o.item}, "")
		if err != nil {
			return err
		}
		_, err = out.Write(opened.Value)
		return err
	}
	secret := &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: *ss.Spec.Template.ObjectMeta.DeepCopy(),
		Type:       ss.Spec.Template.Type, Immutable: ss.Spec.Template.Immutable, Data: map[string][]byte{},
	}
	secret.Namespace, secret.Name = ss.Namespace, ss.Name
	var failed []error
	hint := ""
	for item, text := range ss.Spec.EncryptedData {
		opened, err := ring.OpenItemToReseal(text, sealer.Place{Binding: at, Item: item}, hint)
		if err != nil {
			failed = append(failed, fmt.Errorf("item %q: %w", item, err))
			continue
		}
		secret.Data[item], hint = opened.Value, opened.Fingerprint
	}
	if len(failed) > 0 {
		return errors.Join(failed...)
	}
	if len(ss.Spec.Template.Data) > 0 {
		fmt.Fprintf(stderr, "lockstep: %s: spec.template.data is not rendered: the controller does so\n", ss.Name)
	}
	return printObject(out, o.format, secret)
}

// readSealed reads SealedSecrets; other documents are left out.
func readSealed(in io.Reader) ([]*bitnamiv1alpha1.SealedSecret, error) {
	decoder := yaml.NewYAMLOrJSONDecoder(io.LimitReader(in, maxInput), 4096)
	var all []*bitnamiv1alpha1.SealedSecret
	for n := 1; ; n++ {
		ss := &bitnamiv1alpha1.SealedSecret{}
		err := decoder.Decode(ss)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("document %d is not a manifest in YAML or JSON", n)
		}
		if ss.Kind == bitnamiv1alpha1.SealedSecretKind {
			all = append(all, ss)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("the input holds no SealedSecret")
	}
	return all, nil
}

// readKeys reads private keys from files.
func readKeys(paths []string) (*sealer.Keyring, error) {
	if len(paths) == 0 {
		return nil, errors.New("--key is missing: a file with the private key")
	}
	var all []sealer.Key
	for _, path := range paths {
		text, err := readLimited(path)
		if err != nil {
			return nil, fmt.Errorf("--key: %w", err)
		}
		found, err := parseKeys(text)
		if err != nil {
			return nil, fmt.Errorf("--key %s: %w", path, err)
		}
		all = append(all, found...)
	}
	ring := &sealer.Keyring{}
	ring.Set(all...)
	return ring, nil
}

// parseKeys reads PEM, or Secrets and Lists of them. Its errors hold nothing of
// the text.
func parseKeys(text []byte) ([]sealer.Key, error) {
	if strings.HasPrefix(strings.TrimSpace(string(text)), "-----BEGIN") {
		return parsePEM(text)
	}
	var all []sealer.Key
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		var list struct {
			corev1.Secret `json:",inline"`
			Items         []corev1.Secret `json:"items"`
		}
		err := decoder.Decode(&list)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, errors.New("it is neither PEM nor a Secret")
		}
		for _, s := range append(list.Items, list.Secret) {
			if len(s.Data[corev1.TLSPrivateKeyKey]) == 0 {
				continue
			}
			key, err := keys.Parse(&s)
			if err != nil {
				return nil, fmt.Errorf("key Secret %s: %w", s.Name, err)
			}
			all = append(all, key)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("it holds no private key")
	}
	return all, nil
}

func parsePEM(text []byte) ([]sealer.Key, error) {
	hybrid, ok, err := sealer.ParseHybridKey(text)
	if err != nil {
		return nil, err
	}
	if ok {
		return []sealer.Key{sealer.HybridOnly(hybrid)}, nil
	}
	private, err := sealer.ParsePrivateKey(text)
	if err != nil {
		return nil, err
	}
	fingerprint, err := sealer.Fingerprint(&private.PublicKey)
	return []sealer.Key{{Private: private, Fingerprint: fingerprint, Since: time.Unix(1, 0)}}, err
}
