package kustomization

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/fluxcd/pkg/apis/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/lockstep-dev/lockstep/reconciler/decrypt"
)

// Clouds are URLs to use in place of those of the clouds' lists of clusters: a
// private endpoint, or a test. Empty are the clouds' own.
type Clouds struct {
	EKS, GKE, AzureManager string
}

// managed is a cluster of a cloud, and who asks for it.
type managed struct {
	Clouds
	settings *decrypt.Settings
	id       *decrypt.Identity
	cluster  string // as the cloud calls it
}

// cloud is how one cloud gives access to its clusters.
type cloud struct {
	// describe returns address and certificate authority of a cluster.
	describe func(context.Context, managed) (address string, ca []byte, err error)
	// token makes a token for it.
	token func(context.Context, managed) (string, time.Time, error)
	// check looks at the name of a cluster; always says that there must be one
	// although address and authority are given.
	check  *regexp.Regexp
	always bool
}

// clouds are those that spec.kubeConfig.configMapRef may name.
var clouds = map[string]cloud{
	"aws":   {describeEKS, tokenEKS, eksCluster, true},
	"gcp":   {describeGKE, tokenGKE, regexp.MustCompile(`^projects/[^/?#]+/locations/[^/?#]+/clusters/[^/?#]+$`), false},
	"azure": {describeAKS, tokenAKS, regexp.MustCompile(`^/subscriptions/[^/?#]+/resourceGroups/[^/?#]+/providers/Microsoft\.ContainerService/managedClusters/[^/?#]+$`), false},
}

// cloudConfig is the way to a cluster of a cloud, as what the cloud gives to
// the ServiceAccount. The controller's own identity is never used.
func (c *Controller) cloudConfig(ctx context.Context, of cloud, account types.NamespacedName, data map[string]string) (*rest.Config, error) {
	id, err := c.identity(ctx, account.Namespace, account.Name)
	if err != nil {
		return nil, err
	}
	to := managed{c.Clouds, &c.Decryption, id, data[meta.KubeConfigKeyCluster]}
	address, ca := data[meta.KubeConfigKeyAddress], []byte(data[meta.KubeConfigKeyCACert])
	found := address != "" && len(ca) > 0
	if (of.always || !found) && !of.check.MatchString(to.cluster) {
		return nil, fmt.Errorf("cluster %q: want the cloud's name of the cluster, which matches %s", to.cluster, of.check)
	}
	if !found {
		if address, ca, err = of.find(ctx, to, address, ca); err != nil {
			return nil, fmt.Errorf("look up cluster %s: %w; or set address and ca.crt", to.cluster, err)
		}
	}
	return withToken(address, ca, func(ctx context.Context) (token string, until time.Time, err error) {
		now := to // the account may stand for something else by now
		if now.id, err = c.identity(ctx, account.Namespace, account.Name); err != nil {
			return "", time.Time{}, err
		}
		return of.token(ctx, now)
	}), nil
}

// find asks the cloud for what is not given.
func (of cloud) find(ctx context.Context, to managed, address string, ca []byte) (string, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	foundAddress, foundCA, err := of.describe(ctx, to)
	if err != nil {
		return "", nil, err
	}
	if address == "" {
		address = foundAddress
	}
	if len(ca) == 0 {
		ca = foundCA
	}
	if !strings.HasPrefix(address, "https://") || len(ca) == 0 {
		return "", nil, errors.New("the answer has no address or no authority")
	}
	return address, ca, nil
}

// lookupTimeout bounds what it takes to look up a cluster.
const lookupTimeout = 20 * time.Second

// maxLookup bounds the answer of a cloud in bytes.
const maxLookup = 1 << 20

// ask sends a request and reads the answer. Its errors hold nothing of either.
func (m managed) ask(r *http.Request, out any) error {
	answer, err := m.settings.Client().Do(r)
	if err != nil {
		return errors.New("the cloud does not answer")
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxLookup))
	if err != nil || answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the cloud answers %s", answer.Status)
	}
	if json.Unmarshal(text, out) != nil {
		return errors.New("the cloud's answer cannot be read")
	}
	return nil
}

// eksCluster is what a cluster of EKS is called; its groups are the region and
// the name.
var eksCluster = regexp.MustCompile(`^arn:aws[a-z-]*:eks:([a-z0-9-]{1,30}):[0-9]{12}:cluster/([0-9A-Za-z][0-9A-Za-z_-]{0,99})$`)

// nothing is the SHA-256 of an empty body.
const nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// amazon is the address of a service of AWS.
func amazon(service, region string) string {
	if strings.HasPrefix(region, "cn-") {
		return "https://" + service + "." + region + ".amazonaws.com.cn"
	}
	return "https://" + service + "." + region + ".amazonaws.com"
}

// describeEKS asks EKS.
// Source: https://docs.aws.amazon.com/eks/latest/APIReference/API_DescribeCluster.html
func describeEKS(ctx context.Context, m managed) (address string, ca []byte, err error) {
	name := eksCluster.FindStringSubmatch(m.cluster)
	base := or(m.EKS, amazon("eks", name[1]))
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/clusters/"+name[2], http.NoBody)
	if err != nil {
		return "", nil, errors.New("its address cannot be used")
	}
	if err := m.sign(ctx, r, "eks", name[1]); err != nil {
		return "", nil, err
	}
	var out struct {
		Cluster struct {
			Endpoint  string `json:"endpoint"`
			Authority struct {
				Data []byte `json:"data"`
			} `json:"certificateAuthority"`
		} `json:"cluster"`
	}
	err = m.ask(r, &out)
	return out.Cluster.Endpoint, out.Cluster.Authority.Data, err
}

// sign signs a request without a body as the role of the ServiceAccount.
func (m managed) sign(ctx context.Context, r *http.Request, service, region string) error {
	provider, err := m.settings.AWS(ctx, m.id, region)
	if err != nil {
		return err
	}
	keys, err := provider.Retrieve(ctx)
	if err != nil {
		return fmt.Errorf("ServiceAccount %s: %w", m.id.Name, decrypt.AWSError(err))
	}
	if service == "sts" {
		signed, _, err := v4.NewSigner().PresignHTTP(ctx, keys, r, nothing, service, region, time.Now()) //nolint:forbidigo // AWS checks it by its own clock
		if err != nil {
			return errors.New("the request cannot be signed")
		}
		r.URL, err = url.Parse(signed)
		return err //nolint:wrapcheck // a URL that was written a moment ago
	}
	return v4.NewSigner().SignHTTP(ctx, keys, r, nothing, service, region, time.Now()) //nolint:forbidigo,wrapcheck // as above; it fails only without a region
}

// eksTokenLife is how long EKS takes a token for, less a minute for clocks that
// differ.
const eksTokenLife = 14 * time.Minute

// tokenEKS makes a token for EKS: a signed question to STS, who the caller is.
// Source: https://github.com/kubernetes-sigs/aws-iam-authenticator#api-authorization-from-outside-a-cluster
func tokenEKS(ctx context.Context, m managed) (string, time.Time, error) {
	name := eksCluster.FindStringSubmatch(m.cluster)
	base := or(m.settings.STS, amazon("sts", name[1]))
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Expires=60", http.NoBody)
	if err != nil {
		return "", time.Time{}, errors.New("the address of STS cannot be used")
	}
	r.Header.Set("X-K8s-Aws-Id", name[2])
	expires := time.Now().Add(eksTokenLife) //nolint:forbidigo // AWS checks it by its own clock
	if err := m.sign(ctx, r, "sts", name[1]); err != nil {
		return "", time.Time{}, err
	}
	return "k8s-aws-v1." + base64.RawURLEncoding.EncodeToString([]byte(r.URL.String())), expires, nil
}

// describeGKE asks Google.
// Source: https://cloud.google.com/kubernetes-engine/docs/reference/rest/v1/projects.locations.clusters/get
func describeGKE(ctx context.Context, m managed) (address string, ca []byte, err error) {
	token, err := m.settings.Google(ctx, m.id)
	if err != nil {
		return "", nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, or(m.GKE, "https://container.googleapis.com")+"/v1/"+m.cluster, http.NoBody)
	if err != nil {
		return "", nil, errors.New("its address cannot be used")
	}
	r.Header.Set("Authorization", "Bearer "+token)
	var out struct {
		Endpoint string `json:"endpoint"`
		Auth     struct {
			CA []byte `json:"clusterCaCertificate"`
		} `json:"masterAuth"`
	}
	if err := m.ask(r, &out); err != nil || out.Endpoint == "" {
		return "", nil, err
	}
	return "https://" + strings.TrimPrefix(out.Endpoint, "https://"), out.Auth.CA, nil
}

// googleTokenLife is how long Google's tokens are used: they live for an hour.
const googleTokenLife = 50 * time.Minute

func tokenGKE(ctx context.Context, m managed) (string, time.Time, error) {
	expires := time.Now().Add(googleTokenLife) //nolint:forbidigo // Google checks it by its own clock
	token, err := m.settings.Google(ctx, m.id)
	return token, expires, err
}

// What tokens of Azure are for: the API servers of all clusters of AKS, and the
// list of clusters.
// Source: https://azure.github.io/kubelogin/concepts/aks.html
const (
	aksScope     = "6dae42f8-4368-4678-94ff-3960e28e3630/.default"
	managerScope = "https://management.azure.com/.default"
)

// describeAKS asks Azure for the kubeconfig of a user, of which it takes
// address and authority.
// Source: https://learn.microsoft.com/en-us/rest/api/aks/managed-clusters/list-cluster-user-credentials
func describeAKS(ctx context.Context, m managed) (address string, ca []byte, err error) {
	token, _, err := m.azure(ctx, managerScope)
	if err != nil {
		return "", nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, or(m.AzureManager, "https://management.azure.com")+m.cluster+"/listClusterUserCredential?api-version=2024-09-01", http.NoBody)
	if err != nil {
		return "", nil, errors.New("its address cannot be used")
	}
	r.Header.Set("Authorization", "Bearer "+token)
	var out struct {
		Configs []struct {
			Value []byte `json:"value"`
		} `json:"kubeconfigs"`
	}
	if err := m.ask(r, &out); err != nil {
		return "", nil, err
	}
	for _, c := range out.Configs {
		if to := clusterIn(c.Value); to != nil {
			return to.Server, to.CertificateAuthorityData, nil
		}
	}
	return "", nil, errors.New("the cloud's answer holds no kubeconfig")
}

func tokenAKS(ctx context.Context, m managed) (string, time.Time, error) {
	return m.azure(ctx, aksScope)
}

func (m managed) azure(ctx context.Context, scope string) (string, time.Time, error) {
	credential, err := m.settings.Azure(m.id)
	if err != nil {
		return "", time.Time{}, err
	}
	token, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}})
	if err != nil {
		return "", time.Time{}, errors.New("Azure gives no token for ServiceAccount " + m.id.Name)
	}
	return token.Token, token.ExpiresOn, nil
}
