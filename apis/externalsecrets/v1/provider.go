package v1

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// SecretStoreProvider is a service: exactly one key is set. Keys of providers
// that this version does not have are kept as they are.
// +kubebuilder:pruning:PreserveUnknownFields
type SecretStoreProvider struct {
	// aws is AWS Secrets Manager, or Systems Manager Parameter Store.
	// +optional
	AWS *AWSProvider `json:"aws,omitempty"`

	// vault is HashiCorp Vault or OpenBao.
	// +optional
	Vault *VaultProvider `json:"vault,omitempty"`

	// openBao is OpenBao.
	// +optional
	OpenBao *OpenBaoProvider `json:"openBao,omitempty"`

	// gcpsm is Google Cloud Secret Manager.
	// +optional
	GCPSM *GCPProvider `json:"gcpsm,omitempty"`

	// kubernetes is the Secrets of a namespace, of this cluster or another.
	// +optional
	Kubernetes *KubernetesProvider `json:"kubernetes,omitempty"`

	// webhook is any service that answers HTTP.
	// +optional
	Webhook *WebhookProvider `json:"webhook,omitempty"`

	// fake is for tests and examples.
	// +optional
	Fake *FakeProvider `json:"fake,omitempty"`

	// Other holds the keys without a field above.
	Other map[string]json.RawMessage `json:"-"`
}

// Keys of spec.provider that have a field.
const (
	ProviderAWS        = "aws"
	ProviderVault      = "vault"
	ProviderOpenBao    = "openBao"
	ProviderGCP        = "gcpsm"
	ProviderKubernetes = "kubernetes"
	ProviderWebhook    = "webhook"
	ProviderFake       = "fake"
)

// fields are the keys that have a field, with what is in it, or nil.
func (p *SecretStoreProvider) fields() map[string]any {
	all := map[string]any{}
	for key, field := range map[string]struct {
		set   bool
		value any
	}{
		ProviderAWS:        {p.AWS != nil, p.AWS},
		ProviderVault:      {p.Vault != nil, p.Vault},
		ProviderOpenBao:    {p.OpenBao != nil, p.OpenBao},
		ProviderGCP:        {p.GCPSM != nil, p.GCPSM},
		ProviderKubernetes: {p.Kubernetes != nil, p.Kubernetes},
		ProviderWebhook:    {p.Webhook != nil, p.Webhook},
		ProviderFake:       {p.Fake != nil, p.Fake},
	} {
		all[key] = nil
		if field.set {
			all[key] = field.value
		}
	}
	return all
}

// Name returns the key that is set, as spelled in the API. It returns an error
// if none is, or more than one.
func (p *SecretStoreProvider) Name() (string, error) {
	keys := p.keys()
	switch len(keys) {
	case 0:
		return "", errors.New("no provider is set: set exactly one, such as vault")
	case 1:
		return keys[0], nil
	default:
		return "", fmt.Errorf("several providers are set: %s; keep one and make a store of its own for each other", strings.Join(keys, ", "))
	}
}

func (p *SecretStoreProvider) keys() []string {
	if p == nil {
		return nil
	}
	keys := slices.Collect(maps.Keys(p.Other))
	for key, value := range p.fields() {
		if value != nil {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// typed has the fields of SecretStoreProvider without its methods.
type typed SecretStoreProvider

// UnmarshalJSON keeps the keys that have no field in Other.
func (p *SecretStoreProvider) UnmarshalJSON(data []byte) error {
	var known typed
	if err := json.Unmarshal(data, &known); err != nil {
		return err
	}
	if err := json.Unmarshal(data, &known.Other); err != nil {
		return err
	}
	for key := range p.fields() {
		delete(known.Other, key)
	}
	if len(known.Other) == 0 {
		known.Other = nil
	}
	*p = SecretStoreProvider(known)
	return nil
}

// MarshalJSON writes the keys of Other next to those that have a field.
func (p SecretStoreProvider) MarshalJSON() ([]byte, error) {
	if len(p.Other) == 0 {
		return json.Marshal(typed(p))
	}
	all := map[string]any{}
	for key, raw := range p.Other {
		all[key] = raw
	}
	for key, value := range p.fields() {
		if value != nil {
			all[key] = value
		}
	}
	return json.Marshal(all)
}
