package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/lockstep-dev/lockstep/reconciler/keys"
	"github.com/lockstep-dev/lockstep/sealer"
)

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
			key.Retired = false // whoever has it opens what it opens
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
