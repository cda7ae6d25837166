// Package azure logs sources in to Azure DevOps and to Azure's registries, by
// tokens of Microsoft Entra: for a ServiceAccount of the cluster that it
// trusts, or for the controller itself.
package azure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/lockstep-dev/lockstep/reconciler/source"
)

// Scopes of the tokens.
// Source: https://learn.microsoft.com/en-us/azure/devops/integrate/get-started/authentication/service-principal-managed-identity
// and https://learn.microsoft.com/en-us/azure/container-registry/container-registry-disable-authentication-as-arm
const (
	devOps     = "499b84ac-1321-427f-aa17-267ca6975798/.default"
	registries = "https://containerregistry.azure.net/.default"
)

// What a ServiceAccount says of itself.
// Source: https://azure.github.io/azure-workload-identity/docs/topics/service-account-labels-and-annotations.html
const (
	annotationTenant = "azure.workload.identity/tenant-id"
	annotationClient = "azure.workload.identity/client-id"
	audience         = "api://AzureADTokenExchange"
)

// registryUser is who logs in with a refresh token.
// Source: https://learn.microsoft.com/en-us/azure/container-registry/container-registry-authentication
const registryUser = "00000000-0000-0000-0000-000000000000"

// Hosts that a token may go to.
var (
	registryHosts = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9]+\.data)?\.azurecr\.(io|cn|us)$`)
	devOpsHosts   = regexp.MustCompile(`^(dev\.azure\.com|[a-z0-9-]+\.visualstudio\.com)$`)
)

// requestTimeout is how long one request may take.
const requestTimeout = 10 * time.Second

// Account is a ServiceAccount that Entra trusts.
type Account struct {
	Name        string // NAMESPACE/NAME
	Annotations map[string]string
	// Token makes a token of it for an audience.
	Token func(ctx context.Context, audience string) (string, error)
}

// Clouds are where Entra and the registries are. The zero value is Azure.
type Clouds struct {
	// Authority and Registry are URLs in place of those of Azure.
	Authority, Registry string
	// HTTP makes all requests. Nil is a client of our own.
	HTTP *http.Client
}

// Git returns a pass for Azure DevOps: a token alone. A nil account is the
// controller itself.
func (c Clouds) Git(ctx context.Context, who source.Who, account *Account) (source.Pass, error) {
	if !devOpsHosts.MatchString(strings.ToLower(who.Host)) {
		return source.Pass{}, fmt.Errorf("spec.url: %s is not at Azure DevOps: nothing is sent to it", who.Host)
	}
	token, err := c.token(ctx, account, devOps)
	return source.Pass{Password: token.Token, Until: token.ExpiresOn}, err
}

// OCI returns a pass for a registry of Azure: the token is traded for one of
// the registry. A nil account is the controller itself.
// Source: https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md
func (c Clouds) OCI(ctx context.Context, who source.Who, account *Account) (source.Pass, error) {
	if !registryHosts.MatchString(who.Host) {
		return source.Pass{}, fmt.Errorf("spec.url: %s is no registry of Azure: nothing is sent to it", who.Host)
	}
	token, err := c.token(ctx, account, registries)
	if err != nil {
		return source.Pass{}, err
	}
	base := "https://" + who.Host
	if c.Registry != "" {
		base = c.Registry
	}
	form := url.Values{"grant_type": {"access_token"}, "service": {who.Host}, "access_token": {token.Token}}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/oauth2/exchange", strings.NewReader(form.Encode()))
	if err != nil {
		return source.Pass{}, errors.New("spec.url is no address of a registry")
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	refresh, err := c.exchange(r)
	return source.Pass{Username: registryUser, Password: refresh, Until: token.ExpiresOn}, err
}

// maxAnswer is how many bytes an answer may have.
const maxAnswer = 1 << 20

// exchange returns the refresh token of a registry. Its errors hold nothing of
// what was sent.
func (c Clouds) exchange(r *http.Request) (string, error) {
	resp, err := c.client().Do(r) //nolint:gosec // G704: OCI has checked the host
	if err != nil {
		return "", fmt.Errorf("%s does not answer", r.URL.Host)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %d %s: give the identity the role AcrPull", r.URL.Host, resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	var out struct {
		Token string `json:"refresh_token"`
	}
	if json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&out) != nil || out.Token == "" {
		return "", fmt.Errorf("%s gives no token", r.URL.Host)
	}
	return out.Token, nil
}

// client follows no redirect, which would take a token elsewhere.
func (c Clouds) client() *http.Client {
	own := &http.Client{}
	if c.HTTP != nil {
		*own = *c.HTTP
	}
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return own
}

func (c Clouds) token(ctx context.Context, account *Account, scope string) (azcore.AccessToken, error) {
	who := "the controller"
	if account != nil {
		who = "ServiceAccount " + account.Name
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	credential, err := c.credential(account)
	if err != nil {
		return azcore.AccessToken{}, err
	}
	token, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}})
	if err != nil { // whose text may repeat what was sent
		return azcore.AccessToken{}, fmt.Errorf("Azure gives no token for %s: check that its identity exists and trusts it", who) //nolint:staticcheck // ST1005: a name
	}
	return token, nil
}

// credential is that of the account, or what Azure gives to the controller: by
// its own ServiceAccount or, if that has none, by the machine.
func (c Clouds) credential(account *Account) (azcore.TokenCredential, error) {
	options := azcore.ClientOptions{Transport: c.client(), Retry: policy.RetryOptions{MaxRetries: 1}}
	if c.Authority != "" {
		options.Cloud = cloud.Configuration{ActiveDirectoryAuthorityHost: c.Authority}
	}
	if account == nil {
		if own, err := azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: c.Authority != ""}); err == nil {
			return own, nil
		}
		machine, err := azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ClientOptions: options})
		if err != nil {
			return nil, errors.New("Azure gives the controller no identity") //nolint:staticcheck // ST1005: a name
		}
		return machine, nil
	}
	tenant, client := account.Annotations[annotationTenant], account.Annotations[annotationClient]
	if tenant == "" || client == "" {
		return nil, fmt.Errorf("spec.serviceAccountName: ServiceAccount %s lacks the annotations %s and %s", account.Name, annotationTenant, annotationClient)
	}
	assertion := func(ctx context.Context) (string, error) { return account.Token(ctx, audience) }
	credential, err := azidentity.NewClientAssertionCredential(tenant, client, assertion,
		&azidentity.ClientAssertionCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: c.Authority != ""})
	if err != nil {
		return nil, fmt.Errorf("spec.serviceAccountName: ServiceAccount %s: its annotations %s and %s name no identity", account.Name, annotationTenant, annotationClient)
	}
	return credential, nil
}
