package render

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/yaml"
)

// An Opener opens what is encrypted.
type Opener interface {
	// Open returns what a file holds, opened if it is encrypted. Its errors
	// name the file, and hold nothing of the content.
	Open(name string, data []byte) ([]byte, error)
	// Opened reports whether text was encrypted, or a part of it.
	Opened(text string) bool
}

// ErrEncrypted says that an object is encrypted with SOPS, and may not be
// applied like that.
var ErrEncrypted = errors.New("is encrypted with SOPS: set spec.decryption of the Kustomization to open it")

// keepEncrypted, as a label or an annotation with the value "disabled", leaves
// an encrypted object as it is. It is Flux's.
const keepEncrypted = "kustomize.toolkit.fluxcd.io/decrypt"

// open opens a file as it is read, once. What goes into a ConfigMap stays
// encrypted: everybody may read those.
func (r *readOnly) open(n string, data []byte) ([]byte, error) {
	if r.opener == nil {
		return data, nil
	}
	if slices.Contains(konfig.RecognizedKustomizationFileNames(), path.Base(n)) {
		r.generators(path.Dir(n), data)
		r.clear.kustomization(data)
		return data, nil
	}
	if r.public[n] {
		return data, nil
	}
	if opened, ok := r.opened[n]; ok {
		return opened, nil
	}
	opened, err := r.opener.Open(n, data)
	if err != nil {
		return nil, err
	}
	r.opened[n] = opened
	r.clear.manifest(data) // there may be documents in clear next to others
	if r.secret[n] && bytes.Equal(opened, data) {
		r.clear.generated(data)
	}
	return opened, nil
}

// generators notes the files that a kustomization makes ConfigMaps and Secrets
// of.
func (r *readOnly) generators(dir string, data []byte) {
	type sources struct {
		Files []string `json:"files"`
		Envs  []string `json:"envs"`
		Env   string   `json:"env"`
	}
	var k struct {
		ConfigMapGenerator []sources `json:"configMapGenerator"`
		SecretGenerator    []sources `json:"secretGenerator"`
	}
	if yaml.Unmarshal(data, &k) != nil {
		return // kustomize says what is wrong with it
	}
	note := func(into map[string]bool, all []sources) {
		for _, g := range all {
			for _, f := range slices.Concat(g.Files, g.Envs, []string{g.Env}) {
				if _, file, ok := strings.Cut(f, "="); ok {
					f = file
				}
				into[name(path.Join(dir, f))] = true
			}
		}
	}
	note(r.public, k.ConfigMapGenerator)
	note(r.secret, k.SecretGenerator)
}

// openSecrets opens the values of Secrets that are encrypted files.
func openSecrets(objects []*unstructured.Unstructured, opener Opener) error {
	if opener == nil {
		return nil
	}
	for _, o := range objects {
		if o.GetAPIVersion() != "v1" || o.GetKind() != "Secret" || keeps(o) {
			continue
		}
		data, _ := o.Object["data"].(map[string]any)
		for key, v := range data {
			text, _ := v.(string)
			raw, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				continue // the API server says so
			}
			opened, err := opener.Open(key, raw)
			if err != nil {
				return fmt.Errorf("%s: data: %w", Name(o), err)
			}
			data[key] = base64.StdEncoding.EncodeToString(opened)
		}
	}
	return nil
}

// refuseEncrypted refuses what SOPS has encrypted and nothing opened: applied
// as it is, it would replace values by their ciphertext.
func refuseEncrypted(objects []*unstructured.Unstructured, opens bool) error {
	for _, o := range objects {
		sops, ok := o.Object["sops"].(map[string]any)
		if !ok || sops["mac"] == nil || keeps(o) {
			continue
		}
		if opens {
			return fmt.Errorf("%s: is encrypted with SOPS in a place where it cannot be opened: put it into a file of its own", Name(o))
		}
		return fmt.Errorf("%s: %w", Name(o), ErrEncrypted)
	}
	return nil
}

func keeps(o *unstructured.Unstructured) bool {
	return o.GetLabels()[keepEncrypted] == "disabled" || o.GetAnnotations()[keepEncrypted] == "disabled"
}

// wasOpened reports whether the value of a Secret is in the source encrypted,
// and not in clear as well.
func (r *readOnly) wasOpened(field, text string) bool {
	if r.opener == nil {
		return false
	}
	if r.opener.Opened(text) {
		return !r.clear[text]
	}
	if field != "data" {
		return false
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	return err == nil && r.opener.Opened(string(raw)) && !r.clear[string(raw)]
}
