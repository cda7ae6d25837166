package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"filippo.io/age/armor"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	backups "github.com/lockstep-dev/lockstep/cmd/lockstep/keys"
	"github.com/lockstep-dev/lockstep/reconciler/keys"
	"github.com/lockstep-dev/lockstep/sealer"
)

// keyFiles are files with private keys, and what opens those that are encrypted.
type keyFiles struct {
	paths          []string
	identities     []string
	passphraseFile string
}

func (k *keyFiles) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&k.paths, "key", nil, "file with private keys: a backup (lockstep keys backup), PEM, or key Secrets as kubectl prints them; may be given several times")
	flags.StringArrayVar(&k.identities, "identity", nil, "file with the age identity that opens the backup; may be given several times")
	flags.StringVar(&k.passphraseFile, "passphrase-file", "", "file with the passphrase of the backup, in its first line")
}

// read returns all keys.
func (k *keyFiles) read() (*sealer.Keyring, error) {
	if len(k.paths) == 0 {
		return nil, errors.New("--key is missing: a file with the private key")
	}
	var all []sealer.Key
	for _, path := range k.paths {
		text, err := readLimited(path)
		if err != nil {
			return nil, fmt.Errorf("--key: %w", err)
		}
		found, err := k.parse(path, text)
		if err != nil {
			return nil, fmt.Errorf("--key %s: %w", path, err)
		}
		all = append(all, found...)
	}
	ring := &sealer.Keyring{}
	ring.Set(all...)
	return ring, nil
}

func (k *keyFiles) parse(path string, text []byte) ([]sealer.Key, error) {
	if !strings.HasPrefix(strings.TrimSpace(string(text)), armor.Header) {
		return parseKeys(text)
	}
	secrets, err := backups.OpenBackup(path, k.identities, k.passphraseFile)
	if err != nil {
		return nil, err
	}
	return keysOf(secrets)
}

// keysOf returns the keys of Secrets; of others than key Secrets, none.
func keysOf(secrets []corev1.Secret) ([]sealer.Key, error) {
	var all []sealer.Key
	for _, s := range secrets {
		if len(s.Data[corev1.TLSPrivateKeyKey]) == 0 {
			continue
		}
		key, err := keys.Parse(&s)
		if err != nil {
			return nil, fmt.Errorf("key Secret %s: %w", s.Name, err)
		}
		key.Retired = false // whoever has it opens what it opens
		all = append(all, key)
	}
	return all, nil
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
		found, err := keysOf(append(list.Items, list.Secret))
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
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
