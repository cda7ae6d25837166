package main

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	sigsyaml "sigs.k8s.io/yaml"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	"github.com/lockstep-dev/lockstep/cmd/internal/manifest"
	"github.com/lockstep-dev/lockstep/reconciler/sealedsecret"
	"github.com/lockstep-dev/lockstep/sealer"
)

// unseal opens one SealedSecret offline, with keys from files.
func (o *options) unseal(ctx context.Context, in io.Reader, out io.Writer) error {
	ring, err := o.recoveryRing()
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(in, manifest.MaxInput))
	if err != nil {
		return err
	}
	asJSON, err := sigsyaml.YAMLToJSON(text)
	if err != nil {
		return err
	}
	ss, err := parseSealed(asJSON)
	if err != nil {
		return err
	}
	// The genuine kubeseal makes an empty Secret of no input.
	if ss.Kind != bitnamiv1alpha1.SealedSecretKind && string(asJSON) != "null" {
		return fmt.Errorf("the input is of kind %q, not a SealedSecret", ss.Kind)
	}
	secret, err := opened(ctx, ss, ring)
	if err != nil {
		return err
	}
	return write(out, o.format, secret)
}

// recoveryRing reads the keys of --recovery-private-key.
func (o *options) recoveryRing() ([]*rsa.PrivateKey, error) {
	var all []*rsa.PrivateKey
	for _, path := range o.recoveryKeys {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		keys, err := privateKeys(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, keys...)
	}
	return all, nil
}

// privateKeys reads a key in PEM form, or the Secrets of a backup: documents of
// YAML or JSON, or a List.
func privateKeys(text []byte) ([]*rsa.PrivateKey, error) {
	if key, err := sealer.ParsePrivateKey(text); err == nil {
		return []*rsa.PrivateKey{key}, nil
	}
	secrets, err := backup(text)
	if err != nil {
		return nil, err
	}
	var keys []*rsa.PrivateKey
	for _, secret := range secrets {
		pem, ok := secret.Data[corev1.TLSPrivateKeyKey]
		if !ok {
			return nil, errors.New("secret must contain a 'tls.data' key") // the genuine words; tls.key is meant
		}
		key, err := sealer.ParsePrivateKey(pem)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func backup(text []byte) ([]*corev1.Secret, error) {
	var list corev1.List
	// What is marshalled from client-go's types says no kind.
	if err := sigsyaml.Unmarshal(text, &list); err != nil || list.Kind != "List" && list.Kind != "SecretList" && (list.Kind != "" || len(list.Items) == 0) {
		return manifest.Secrets(strings.NewReader(string(text)))
	}
	var secrets []*corev1.Secret
	for _, item := range list.Items {
		secret := &corev1.Secret{}
		if err := json.Unmarshal(item.Raw, secret); err != nil {
			return nil, errors.New("an item of the List is no Secret")
		}
		secrets = append(secrets, secret)
	}
	return secrets, nil
}

// opened returns the Secret that ss stands for. Its errors are those of the
// genuine kubeseal.
func opened(ctx context.Context, ss *bitnamiv1alpha1.SealedSecret, keys []*rsa.PrivateKey) (*corev1.Secret, error) {
	ring := &sealer.Keyring{}
	all := make([]sealer.Key, 0, len(keys))
	for _, key := range keys {
		k, err := sealer.NewKey(key, &x509.Certificate{PublicKey: &key.PublicKey})
		if err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	ring.Set(all...)
	at := sealer.Binding{Namespace: ss.Namespace, Name: ss.Name, Scope: manifest.ScopeOf(ss)}
	data, err := openedItems(ss, ring, at)
	if err != nil {
		return nil, err
	}
	rendered, err := sealedsecret.Render(ctx, ss.Spec.Template.Data, data)
	if err != nil {
		return nil, err
	}
	template := ss.Spec.Template
	secret := &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: *template.ObjectMeta.DeepCopy(),
		Type:       template.Type,
		Immutable:  template.Immutable,
		Data:       rendered,
	}
	secret.Name, secret.Namespace = ss.Name, ss.Namespace
	if template.Annotations[bitnamiv1alpha1.AnnotationSkipSetOwnerReferences] != "true" {
		controller := true
		secret.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: ss.APIVersion, Kind: ss.Kind, Name: ss.Name, UID: ss.UID, Controller: &controller,
		}}
	}
	return secret, nil
}

func openedItems(ss *bitnamiv1alpha1.SealedSecret, ring *sealer.Keyring, at sealer.Binding) (map[string][]byte, error) {
	data := map[string][]byte{}
	hint := ""
	failed := map[string][]string{} // items, by what is wrong with them
	for _, item := range slices.Sorted(maps.Keys(ss.Spec.EncryptedData)) {
		sealed, err := base64.StdEncoding.DecodeString(ss.Spec.EncryptedData[item])
		if err != nil {
			failed[err.Error()] = append(failed[err.Error()], item)
			continue
		}
		opened, err := ring.Open(sealed, at, hint)
		if err != nil {
			const text = "no key could decrypt secret" // whatever is wrong with it
			failed[text] = append(failed[text], item)
			continue
		}
		data[item], hint = opened.Value, opened.Fingerprint
	}
	if len(failed) == 0 {
		return data, nil
	}
	var parts []string
	for _, text := range slices.Sorted(maps.Keys(failed)) {
		parts = append(parts, fmt.Sprintf("%s (%s)", text, strings.Join(failed[text], ", ")))
	}
	return nil, errors.New(strings.Join(parts, "; "))
}
