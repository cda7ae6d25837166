package main

import (
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"
	sigsyaml "sigs.k8s.io/yaml"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/cmd/internal/manifest"
	"github.com/lockstep-dev/lockstep/sealer"
)

// sealing seals with one key.
type sealing struct {
	*options
	key *rsa.PublicKey
}

// secrets seals each Secret of a stream, under name and namespace if they are
// not empty.
func (s *sealing) secrets(in io.Reader, out io.Writer, name, namespace string) error {
	secrets, err := manifest.Secrets(in)
	if err != nil {
		return err
	}
	if len(secrets) == 0 {
		return errors.New("no secrets found. Ensure the input is valid and UTF-8 encoded")
	}
	for _, secret := range secrets {
		if name != "" {
			secret.Name = name
		}
		if namespace != "" {
			secret.Namespace = namespace
		}
		ss, err := s.secret(secret)
		if err != nil {
			return err
		}
		if err := write(out, s.format, ss); err != nil {
			return err
		}
	}
	return nil
}

// secret seals one Secret.
func (s *sealing) secret(secret *corev1.Secret) (*bitnamiv1alpha1.SealedSecret, error) {
	if secret.Kind != "" && secret.Kind != "Secret" {
		return nil, fmt.Errorf("input is a %s, not a Secret", secret.Kind)
	}
	if len(secret.Data)+len(secret.StringData) == 0 && !s.allowEmptyData {
		return nil, errors.New("secret.data is empty in input Secret, assuming this is an error and aborting. To work with empty data, --allow-empty-data can be used")
	}
	if secret.Name == "" {
		return nil, errors.New("missing metadata.name in input Secret")
	}
	if s.scope.Scope != sealer.Strict {
		secret.Annotations = manifest.WithScope(secret.Annotations, s.scope.Scope)
	}
	at := sealer.Binding{Name: secret.Name, Scope: manifest.ScopeOf(secret)}
	if err := s.namespace(secret, at.Scope); err != nil {
		return nil, err
	}
	at.Namespace = secret.Namespace
	return manifest.Sealed(secret, func(_ string, value []byte) (string, error) {
		sealed, err := sealer.Seal(s.key, value, at.Label())
		return base64.StdEncoding.EncodeToString(sealed), err
	})
}

// namespace gives a Secret the namespace of the flags or the kubeconfig, if it
// has none and needs one.
func (s *sealing) namespace(secret *corev1.Secret, scope sealer.Scope) error {
	if scope == sealer.ClusterWide {
		return nil
	}
	namespace, explicit, _ := s.client().Namespace() // without a kubeconfig it is empty
	if explicit && secret.Namespace != "" && secret.Namespace != namespace {
		return fmt.Errorf("namespace mismatch: input secret is in namespace %q but %q was specified", secret.Namespace, namespace)
	}
	if secret.Namespace == "" {
		secret.Namespace = namespace
	}
	if secret.Namespace == "" {
		return errors.New("secret must declare a namespace")
	}
	return nil
}

// write prints an object in the form of the genuine kubeseal.
func write(out io.Writer, format string, o any) error {
	var text []byte
	var err error
	switch strings.ToLower(format) {
	case "json", "":
		text, err = json.MarshalIndent(o, "", "  ")
		text = append(text, '\n')
	case "yaml":
		text, err = sigsyaml.Marshal(o)
		text = append([]byte("---\n"), text...)
	default:
		return fmt.Errorf("unsupported output format: %s", format)
	}
	if err != nil {
		return err
	}
	_, err = out.Write(text)
	return err
}
