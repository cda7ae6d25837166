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

	// Other holds the keys without a field above.
	Other map[string]json.RawMessage `json:"-"`
}

// Keys of spec.provider that have a field.
const (
	ProviderAWS   = "aws"
	ProviderVault = "vault"
)

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
	if p.AWS != nil {
		keys = append(keys, ProviderAWS)
	}
	if p.Vault != nil {
		keys = append(keys, ProviderVault)
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
	delete(known.Other, ProviderAWS)
	delete(known.Other, ProviderVault)
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
	if p.AWS != nil {
		all[ProviderAWS] = p.AWS
	}
	if p.Vault != nil {
		all[ProviderVault] = p.Vault
	}
	return json.Marshal(all)
}
