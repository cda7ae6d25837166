package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/lockstep-dev/lockstep/cmd/internal/cluster"
	"github.com/lockstep-dev/lockstep/cmd/internal/manifest"
)

// maxBackup is the largest backup in bytes that is read: ten thousand keys.
const maxBackup = 128 << 20

// backup is how a backup is encrypted, and opened.
type backup struct {
	settings
	recipients     []string // of age
	identities     []string // files of age
	passphraseFile string
	scryptWork     int // of a passphrase; 0 is age's default
}

func (b *backup) bindPassphrase(cmd *cobra.Command) {
	cmd.Flags().StringVar(&b.passphraseFile, "passphrase-file", "", "file with the passphrase of the backup, in its first line")
}

func (b *backup) bindOpen(cmd *cobra.Command) {
	b.bindPassphrase(cmd)
	cmd.Flags().StringArrayVar(&b.identities, "identity", nil, "file with the age identity that opens the backup; may be given several times")
}

func backupCmd() *cobra.Command {
	b := &backup{}
	cmd := &cobra.Command{
		Use:     "backup FILE",
		Short:   "Write all sealing keys to a file, encrypted with age",
		Example: "  lockstep keys backup keys.age --recipient age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kudmkfptqmc9z6y\n  lockstep keys backup keys.age --passphrase-file ~/passphrase",
		Args:    cluster.Args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return b.write(cmd.Context(), cmd.OutOrStdout(), args[0])
		},
	}
	b.bind(cmd)
	b.bindPassphrase(cmd)
	cmd.Flags().StringArrayVar(&b.recipients, "recipient", nil, "age recipient (age1...) that may open the backup; may be given several times")
	return cmd
}

// encryption returns whom the backup is encrypted for.
func (b *backup) encryption() ([]age.Recipient, error) {
	switch {
	case len(b.recipients) > 0 && b.passphraseFile != "":
		return nil, errors.New("--recipient and --passphrase-file do not go together: age encrypts for recipients or with a passphrase")
	case b.passphraseFile != "":
		passphrase, err := b.passphrase()
		if err != nil {
			return nil, err
		}
		r, err := age.NewScryptRecipient(passphrase)
		if err == nil && b.scryptWork > 0 {
			r.SetWorkFactor(b.scryptWork)
		}
		return []age.Recipient{r}, err
	case len(b.recipients) > 0:
		var all []age.Recipient
		for _, text := range b.recipients {
			parsed, err := age.ParseRecipients(bytes.NewReader([]byte(text)))
			if err != nil {
				return nil, fmt.Errorf("--recipient %q is none of age: %w", text, err)
			}
			all = append(all, parsed...)
		}
		return all, nil
	default:
		return nil, errors.New("say whom the backup is encrypted for, with --recipient or --passphrase-file: keys are not written in the clear")
	}
}

// leastPassphrase is how many characters a passphrase has at least: what opens
// every secret is not guessed.
const leastPassphrase = 12

func (b *backup) passphrase() (string, error) {
	text, err := os.ReadFile(b.passphraseFile)
	if err != nil {
		return "", fmt.Errorf("read passphrase: %w", err)
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	line = bytes.TrimRight(line, "\r")
	if len(line) < leastPassphrase {
		return "", fmt.Errorf("the passphrase in %s has fewer than %d characters", b.passphraseFile, leastPassphrase)
	}
	return string(line), nil
}

func (b *backup) write(ctx context.Context, out io.Writer, path string) error {
	to, err := b.encryption()
	if err != nil {
		return err
	}
	kube, err := b.connect()
	if err != nil {
		return err
	}
	secrets, err := b.secrets(ctx, kube)
	if err != nil {
		return err
	}
	if len(secrets) == 0 {
		return fmt.Errorf("there is no sealing key in namespace %q: see --controller-namespace", b.Namespace)
	}
	pairs, _, malformed := parse(secrets)
	text, err := encrypt(secrets, to)
	if err != nil {
		return err
	}
	if err := manifest.ReplaceFile(path, text, 0o600); err != nil {
		return err
	}
	fmt.Fprintf(out, "Wrote %d sealing keys to %s. See that it can be opened: lockstep keys verify-backup %s\n", len(pairs), path, path)
	return malformed
}

// encrypt makes a backup of Secrets: what kubectl get -o yaml would give,
// encrypted before anything is written.
func encrypt(secrets []corev1.Secret, to []age.Recipient) ([]byte, error) {
	list := corev1.SecretList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "SecretList"}}
	for _, s := range secrets {
		list.Items = append(list.Items, corev1.Secret{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
			ObjectMeta: metav1.ObjectMeta{Name: s.Name, Namespace: s.Namespace, Labels: s.Labels, Annotations: s.Annotations},
			Type:       s.Type, Immutable: s.Immutable, Data: s.Data,
		})
	}
	text, err := yaml.Marshal(list)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	var out bytes.Buffer
	armored := armor.NewWriter(&out)
	w, err := age.Encrypt(armored, to...)
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	if _, err := w.Write(text); err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	if err := errors.Join(w.Close(), armored.Close()); err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	return out.Bytes(), nil
}

// OpenBackup returns the key Secrets of a file that lockstep keys backup wrote.
func OpenBackup(path string, identities []string, passphraseFile string) ([]corev1.Secret, error) {
	return (&backup{identities: identities, passphraseFile: passphraseFile}).open(path)
}

// open returns the Secrets of a backup.
func (b *backup) open(path string) ([]corev1.Secret, error) {
	ids, err := b.decryption()
	if err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	r, err := age.Decrypt(armor.NewReader(io.LimitReader(file, maxBackup)), ids...)
	if wrong := (*age.NoIdentityMatchError)(nil); errors.As(err, &wrong) {
		return nil, fmt.Errorf("%s: it was encrypted for someone else, or with another passphrase", path)
	}
	if err != nil { // whose text may repeat what is in the file, which may be an identity
		return nil, fmt.Errorf("%s is no backup, or was cut off or changed", path)
	}
	text, err := io.ReadAll(io.LimitReader(r, maxBackup))
	defer clear(text)
	if err != nil {
		return nil, fmt.Errorf("%s was cut off or changed: %w", path, err)
	}
	secrets, err := parseBackup(text)
	if err != nil {
		return nil, fmt.Errorf("%s %w", path, err)
	}
	return secrets, nil
}

// parseBackup reads what encrypt encrypted. Its error holds nothing of the text.
func parseBackup(text []byte) ([]corev1.Secret, error) {
	var list corev1.SecretList
	if yaml.Unmarshal(text, &list) != nil || len(list.Items) == 0 {
		return nil, errors.New("holds no sealing keys")
	}
	return list.Items, nil
}

func (b *backup) decryption() ([]age.Identity, error) {
	var all []age.Identity
	if b.passphraseFile != "" {
		passphrase, err := b.passphrase()
		if err != nil {
			return nil, err
		}
		id, err := age.NewScryptIdentity(passphrase)
		if err != nil {
			return nil, err
		}
		all = append(all, id)
	}
	for _, path := range b.identities {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		parsed, err := age.ParseIdentities(bytes.NewReader(text))
		if err != nil { // whose text may repeat what is in the file
			return nil, fmt.Errorf("%s holds no age identity", path)
		}
		all = append(all, parsed...)
	}
	if len(all) == 0 {
		return nil, errors.New("say what opens the backup, with --identity or --passphrase-file")
	}
	return all, nil
}
