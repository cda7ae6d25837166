package main

import (
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
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
	secrets, err := readSecrets(in)
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

// readSecrets reads a stream of YAML or JSON documents; empty ones do not count.
func readSecrets(in io.Reader) ([]*corev1.Secret, error) {
	decoder := yaml.NewYAMLOrJSONDecoder(io.LimitReader(in, maxInput), 4096)
	var secrets []*corev1.Secret
	for {
		secret := &corev1.Secret{}
		err := decoder.Decode(secret)
		if errors.Is(err, io.EOF) {
			return secrets, nil
		}
		if err != nil {
			// The decoder's words repeat the input, and the input is secret.
			return nil, fmt.Errorf("document %d of the input is no Secret in YAML or JSON: values of data are base64, those of stringData text", len(secrets)+1)
		}
		if !equality.Semantic.DeepEqual(secret, &corev1.Secret{}) {
			secrets = append(secrets, secret)
		}
	}
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
		secret.Annotations = withScope(secret.Annotations, s.scope.Scope)
	}
	at := sealer.Binding{Name: secret.Name, Scope: scopeOf(secret)}
	if err := s.namespace(secret, at.Scope); err != nil {
		return nil, err
	}
	at.Namespace = secret.Namespace
	return s.sealed(secret, at)
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

// sealed makes the SealedSecret. Of the metadata, the template gets all that a
// person may have written, and the SealedSecret itself only what the scope
// needs, as with the genuine kubeseal.
func (s *sealing) sealed(secret *corev1.Secret, at sealer.Binding) (*bitnamiv1alpha1.SealedSecret, error) {
	ss := &bitnamiv1alpha1.SealedSecret{
		TypeMeta: metav1.TypeMeta{
			APIVersion: bitnamiv1alpha1.GroupVersion.String(),
			Kind:       bitnamiv1alpha1.SealedSecretKind,
		},
		ObjectMeta: metav1.ObjectMeta{
			Namespace:   secret.Namespace,
			Name:        secret.Name,
			Annotations: withScope(nil, at.Scope),
		},
	}
	ss.Spec.EncryptedData = bitnamiv1alpha1.EncryptedData{}
	ss.Spec.Template = bitnamiv1alpha1.SecretTemplateSpec{
		ObjectMeta: writable(secret.ObjectMeta),
		Type:       secret.Type,
		Immutable:  secret.Immutable,
	}
	values := maps.Clone(secret.Data)
	if values == nil {
		values = map[string][]byte{}
	}
	for item, text := range secret.StringData {
		values[item] = []byte(text)
	}
	for item, value := range values {
		sealed, err := sealer.Seal(s.key, value, at.Label())
		if err != nil {
			return nil, fmt.Errorf("item %q: %w", item, err)
		}
		ss.Spec.EncryptedData[item] = base64.StdEncoding.EncodeToString(sealed)
	}
	return ss, nil
}

// lastApplied are annotations that hold the whole Secret.
var lastApplied = []string{"kubectl.kubernetes.io/last-applied-configuration", "kubecfg.ksonnet.io/last-applied-configuration"}

// writable returns m without what only the server sets, what belongs to one
// cluster, and what holds the values.
func writable(m metav1.ObjectMeta) metav1.ObjectMeta {
	m = *m.DeepCopy()
	m.SelfLink = "" //nolint:staticcheck // SA1019: old Secrets have it
	m.UID, m.ResourceVersion, m.Generation = "", "", 0
	m.CreationTimestamp, m.DeletionTimestamp, m.DeletionGracePeriodSeconds = metav1.Time{}, nil, nil
	m.OwnerReferences = nil
	for _, name := range lastApplied {
		delete(m.Annotations, name)
	}
	return m
}

func scopeOf(o metav1.Object) sealer.Scope {
	switch annotations := o.GetAnnotations(); {
	case annotations[bitnamiv1alpha1.AnnotationClusterWide] == "true":
		return sealer.ClusterWide
	case annotations[bitnamiv1alpha1.AnnotationNamespaceWide] == "true":
		return sealer.NamespaceWide
	default:
		return sealer.Strict
	}
}

// withScope returns annotations that say scope.
func withScope(annotations map[string]string, scope sealer.Scope) map[string]string {
	out := map[string]string{}
	maps.Copy(out, annotations)
	delete(out, bitnamiv1alpha1.AnnotationNamespaceWide)
	delete(out, bitnamiv1alpha1.AnnotationClusterWide)
	switch scope {
	case sealer.Strict: // says itself by saying nothing
	case sealer.NamespaceWide:
		out[bitnamiv1alpha1.AnnotationNamespaceWide] = "true"
	case sealer.ClusterWide:
		out[bitnamiv1alpha1.AnnotationClusterWide] = "true"
	}
	return out
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
