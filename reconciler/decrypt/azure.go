package decrypt

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/getsops/sops/v3/keyservice"
	"sigs.k8s.io/yaml"
)

// azureIdentity is what Flux reads from the Secret, and what az writes for a
// service principal.
type azureIdentity struct {
	TenantID                   string `json:"tenantId"`
	ClientID                   string `json:"clientId"`
	ClientSecret               string `json:"clientSecret"`
	ClientCertificate          string `json:"clientCertificate"`
	ClientCertificatePassword  string `json:"clientCertificatePassword"`
	ClientCertificateSendChain bool   `json:"clientCertificateSendChain"`
	AuthorityHost              string `json:"authorityHost"`

	AppID    string `json:"appId"`
	Tenant   string `json:"tenant"`
	Password string `json:"password"`
}

func (k *Keys) addAzure(text string) error {
	id := &azureIdentity{}
	if yaml.Unmarshal([]byte(text), id) != nil {
		return errors.New("is no YAML or JSON")
	}
	id.TenantID, id.ClientID, id.ClientSecret = or(id.TenantID, id.Tenant), or(id.ClientID, id.AppID), or(id.ClientSecret, id.Password)
	if id.TenantID == "" || id.ClientID == "" || id.ClientSecret == "" && id.ClientCertificate == "" {
		return errors.New("want tenantId, clientId and either clientSecret or clientCertificate")
	}
	k.azure = id
	return nil
}

// keyVaults are the domains of Azure's key vaults and managed HSMs, and the
// scope of a token for each. A token goes nowhere else.
// Source: https://learn.microsoft.com/en-us/azure/key-vault/general/about-keys-secrets-certificates#dns-suffixes-for-object-identifiers
var keyVaults = map[string]string{
	".vault.azure.net":              "https://vault.azure.net/.default",
	".vault.azure.cn":               "https://vault.azure.cn/.default",
	".vault.usgovcloudapi.net":      "https://vault.usgovcloudapi.net/.default",
	".managedhsm.azure.net":         "https://managedhsm.azure.net/.default",
	".managedhsm.azure.cn":          "https://managedhsm.azure.cn/.default",
	".managedhsm.usgovcloudapi.net": "https://managedhsm.usgovcloudapi.net/.default",
}

// openAzure has Azure Key Vault decrypt a data key.
// Source: https://learn.microsoft.com/en-us/rest/api/keyvault/keys/decrypt/decrypt
func (s *service) openAzure(k *keyservice.AzureKeyVaultKey, ciphertext []byte) ([]byte, error) {
	base, scope, err := s.keyVault(k.GetVaultUrl())
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(k.GetName()+k.GetVersion(), "/?#.") {
		return nil, errors.New("its name cannot be used")
	}
	return s.request(base.Host, func(ctx context.Context) ([]byte, error) {
		token, err := s.azureToken(ctx, scope)
		if err != nil {
			return nil, err
		}
		var out struct {
			Value string `json:"value"`
		}
		err = post(ctx, question{
			s.Settings.Client(), base.JoinPath("keys", k.GetName(), k.GetVersion(), "decrypt").String() + "?api-version=7.4",
			http.Header{"Authorization": {"Bearer " + token}}, map[string]string{"alg": "RSA-OAEP-256", "value": string(ciphertext)},
		}, &out)
		if err != nil {
			return nil, err
		}
		return base64.RawURLEncoding.DecodeString(out.Value)
	})
}

// keyVault checks the address of a vault, which comes from the repository.
func (s *service) keyVault(address string) (base *url.URL, scope string, err error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Port() != "" {
		return nil, "", errors.New("its address cannot be used")
	}
	for suffix, scope := range keyVaults {
		name, ok := strings.CutSuffix(strings.ToLower(u.Host), suffix)
		if !ok || name == "" || strings.Contains(name, ".") {
			continue
		}
		if s.Settings.KeyVault != "" {
			if u, err = url.Parse(s.Settings.KeyVault); err != nil {
				return nil, "", errors.New("the address in place of Azure's cannot be read")
			}
		}
		return u, scope, nil
	}
	return nil, "", errors.New("its address is not one of Azure Key Vault: nothing was sent to it")
}

func (s *service) azureToken(ctx context.Context, scope string) (string, error) {
	c, err := s.azureCredential()
	if err != nil {
		return "", err
	}
	token, err := c.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}})
	if err != nil {
		return "", errors.New("Azure gives no token for the credentials")
	}
	return token.Token, nil
}

// azureCredential is that of the Secret, or else what Azure gives to the
// ServiceAccount.
//
//nolint:wrapcheck // azureToken tells no more than that there is no token
func (s *service) azureCredential() (azcore.TokenCredential, error) {
	id := s.Keys.azure
	if id == nil && s.Keys.Identity == nil {
		return nil, errNone
	}
	if id == nil {
		return s.Settings.Azure(s.Keys.Identity)
	}
	options := s.Settings.azure()
	if id.AuthorityHost != "" {
		options.Cloud = cloud.Configuration{ActiveDirectoryAuthorityHost: id.AuthorityHost}
	}
	if id.ClientCertificate == "" {
		return azidentity.NewClientSecretCredential(id.TenantID, id.ClientID, id.ClientSecret,
			&azidentity.ClientSecretCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: id.AuthorityHost != ""})
	}
	certificates, key, err := azidentity.ParseCertificates([]byte(id.ClientCertificate), []byte(id.ClientCertificatePassword))
	if err != nil {
		return nil, errors.New("clientCertificate of the Secret cannot be read with clientCertificatePassword")
	}
	return azidentity.NewClientCertificateCredential(id.TenantID, id.ClientID, certificates, key,
		&azidentity.ClientCertificateCredentialOptions{ClientOptions: options, SendCertificateChain: id.ClientCertificateSendChain, DisableInstanceDiscovery: id.AuthorityHost != ""})
}

func (s *Settings) azure() azcore.ClientOptions {
	return azcore.ClientOptions{Transport: s.Client(), Retry: policy.RetryOptions{MaxRetries: 1}}
}

// Azure returns what gives tokens of the application or managed identity that
// Azure gives to a ServiceAccount.
func (s *Settings) Azure(id *Identity) (azcore.TokenCredential, error) {
	tenant, client := id.Annotations["azure.workload.identity/tenant-id"], id.Annotations["azure.workload.identity/client-id"]
	if tenant == "" || client == "" {
		return nil, fmt.Errorf("ServiceAccount %s lacks the annotations azure.workload.identity/tenant-id and client-id", id.Name)
	}
	assertion := func(ctx context.Context) (string, error) { return id.Token(ctx, "api://AzureADTokenExchange") }
	options := s.azure()
	if s.AzureLogin != "" {
		options.Cloud = cloud.Configuration{ActiveDirectoryAuthorityHost: s.AzureLogin}
	}
	//nolint:wrapcheck // as above
	return azidentity.NewClientAssertionCredential(tenant, client, assertion,
		&azidentity.ClientAssertionCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: s.AzureLogin != ""})
}
