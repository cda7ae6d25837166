package kustomization_test

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/reconciler/decrypt"
	"github.com/lockstep-dev/lockstep/reconciler/kustomization"
)

// managedCluster is an API server that knows the tokens of one cloud, and the
// services of that cloud.
type managedCluster struct {
	*httptest.Server
	t *testing.T
}

func startManaged(t *testing.T) *managedCluster {
	t.Helper()
	config := cluster.Get(t).RestConfig()
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	to, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	m := &managedCluster{t: t}
	behind := &httputil.ReverseProxy{Transport: transport, FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Header.Del("Authorization")
	}}
	mux := http.NewServeMux()
	mux.HandleFunc("/api/", m.guard(behind))
	mux.HandleFunc("/apis/", m.guard(behind))
	mux.HandleFunc("POST /sts", m.amazonSTS)
	mux.HandleFunc("GET /eks/clusters/far", m.eks)
	mux.HandleFunc("POST /google/v1/token", m.googleSTS)
	mux.HandleFunc("POST /google/v1/projects/-/serviceAccounts/{email}", m.googleIAM)
	mux.HandleFunc("GET /gke/v1/projects/p/locations/l/clusters/far", m.gke)
	mux.HandleFunc("GET /tenant/v2.0/.well-known/openid-configuration", m.discovery)
	mux.HandleFunc("POST /tenant/oauth2/v2.0/token", m.entra)
	mux.HandleFunc("POST /arm"+aksCluster+"/listClusterUserCredential", m.aks)
	m.Server = httptest.NewTLSServer(mux)
	t.Cleanup(m.Close)
	return m
}

const (
	eksCluster = "arn:aws:eks:eu-central-1:123456789012:cluster/far"
	gkeCluster = "projects/p/locations/l/clusters/far"
	aksCluster = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ContainerService/managedClusters/far"
)

func (m *managedCluster) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.Certificate().Raw})
}

// guard lets through who has a token of a cloud.
func (m *managedCluster) guard(next http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if token != "google-as-far@p" && token != "azure:6dae42f8-4368-4678-94ff-3960e28e3630/.default" && !m.signed(token) {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	}
}

// awsKeys are what STS gives to the role.
var awsKeys = aws.Credentials{AccessKeyID: "ASIAEXAMPLE", SecretAccessKey: "session-secret", SessionToken: "session"}

// signed checks a token of EKS as AWS does: by signing the same question.
func (m *managedCluster) signed(token string) bool {
	encoded, ok := strings.CutPrefix(token, "k8s-aws-v1.")
	text, err := base64.RawURLEncoding.DecodeString(encoded)
	if !ok || err != nil || !strings.Contains(string(text), "Action=GetCallerIdentity") {
		return false
	}
	u, err := url.Parse(string(text))
	if err != nil {
		return false
	}
	at, err := time.Parse("20060102T150405Z", u.Query().Get("X-Amz-Date"))
	if err != nil || time.Since(at) > time.Minute {
		return false
	}
	r, err := http.NewRequest(http.MethodGet, m.URL+"/sts/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Expires=60", http.NoBody)
	if err != nil {
		return false
	}
	r.Header.Set("X-K8s-Aws-Id", "far")
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	want, _, err := v4.NewSigner().PresignHTTP(r.Context(), awsKeys, r, empty, "sts", "eu-central-1", at)
	return err == nil && want == u.String()
}

func (m *managedCluster) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		m.t.Error(err)
	}
}

// ours reports whether a token is of the ServiceAccount, for an audience.
func (m *managedCluster) ours(token, audience string) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	return err == nil && strings.Contains(string(claims), `"`+audience+`"`) && strings.Contains(string(claims), ":cloud-user")
}

func (m *managedCluster) amazonSTS(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil || !m.ours(r.Form.Get("WebIdentityToken"), "sts.amazonaws.com") || r.Form.Get("RoleArn") != "arn:aws:iam::123456789012:role/far" {
		http.Error(w, "no", http.StatusForbidden)
		return
	}
	fmt.Fprintf(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken>%s</SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`,
		awsKeys.AccessKeyID, awsKeys.SecretAccessKey, awsKeys.SessionToken, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
}

func (m *managedCluster) eks(w http.ResponseWriter, r *http.Request) {
	if h := r.Header.Get("Authorization"); !strings.Contains(h, "Credential="+awsKeys.AccessKeyID) || !strings.Contains(h, "/eu-central-1/eks/aws4_request") {
		http.Error(w, "no", http.StatusForbidden)
		return
	}
	m.answer(w, map[string]any{"cluster": map[string]any{"endpoint": m.URL, "certificateAuthority": map[string]any{"data": m.ca()}}})
}

func (m *managedCluster) googleSTS(w http.ResponseWriter, r *http.Request) {
	var in map[string]string
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || !m.ours(in["subjectToken"], "https://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q") {
		http.Error(w, "no", http.StatusForbidden)
		return
	}
	m.answer(w, map[string]string{"access_token": "federated"})
}

func (m *managedCluster) googleIAM(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer federated" {
		http.Error(w, "no", http.StatusForbidden)
		return
	}
	m.answer(w, map[string]string{"accessToken": "google-as-" + strings.TrimSuffix(r.PathValue("email"), ":generateAccessToken")})
}

func (m *managedCluster) gke(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer google-as-far@p" {
		http.Error(w, "no", http.StatusForbidden)
		return
	}
	m.answer(w, map[string]any{"endpoint": strings.TrimPrefix(m.URL, "https://"), "masterAuth": map[string]any{"clusterCaCertificate": m.ca()}})
}

func (m *managedCluster) discovery(w http.ResponseWriter, _ *http.Request) {
	m.answer(w, map[string]string{"token_endpoint": m.URL + "/tenant/oauth2/v2.0/token", "authorization_endpoint": m.URL + "/a", "issuer": m.URL + "/tenant/v2.0"})
}

func (m *managedCluster) entra(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil || r.Form.Get("client_id") != "far" || !m.ours(r.Form.Get("client_assertion"), "api://AzureADTokenExchange") {
		http.Error(w, "no", http.StatusForbidden)
		return
	}
	scope, _, _ := strings.Cut(r.Form.Get("scope"), " ")
	m.answer(w, map[string]any{"access_token": "azure:" + scope, "token_type": "Bearer", "expires_in": 3600})
}

func (m *managedCluster) aks(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer azure:https://management.azure.com/.default" {
		http.Error(w, "no", http.StatusForbidden)
		return
	}
	config := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: far, user: u}}]\nclusters: [{name: far, cluster: {server: %q, certificate-authority-data: %s}}]\n", m.URL, base64.StdEncoding.EncodeToString(m.ca()))
	m.answer(w, map[string]any{"kubeconfigs": []any{map[string]any{"name": "clusterUser", "value": []byte(config)}}})
}

// cloudUsers are an account that all clouds trust, and one that none does.
func cloudUsers(b *bench) {
	b.t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "cloud-user", Annotations: map[string]string{
		"eks.amazonaws.com/role-arn":                    "arn:aws:iam::123456789012:role/far",
		"gcp.auth.fluxcd.io/workload-identity-provider": "projects/1/locations/global/workloadIdentityPools/p/providers/q",
		"iam.gke.io/gcp-service-account":                "far@p",
		"azure.workload.identity/tenant-id":             "tenant",
		"azure.workload.identity/client-id":             "far",
	}}}
	plain := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "plain"}}
	for _, o := range []client.Object{account, plain} {
		if err := b.Create(b.t.Context(), o); err != nil {
			b.t.Fatal(err)
		}
	}
}

// TestKubeConfigByCloud reaches clusters of the three clouds by what they give
// to a ServiceAccount of ours.
func TestKubeConfigByCloud(t *testing.T) {
	m := startManaged(t)
	b := start(t, func(b *bench) {
		b.ctrl.Decryption = decrypt.Settings{HTTP: m.Client(), STS: m.URL + "/sts", GoogleSTS: m.URL + "/google", GoogleIAM: m.URL + "/google", AzureLogin: m.URL}
		b.ctrl.Clouds = kustomization.Clouds{EKS: m.URL + "/eks", GKE: m.URL + "/gke", AzureManager: m.URL + "/arm"}
	})
	cloudUsers(b)
	given := map[string]string{"address": m.URL, "ca.crt": string(m.ca())}
	files := map[string]string{}
	for name, tc := range map[string]struct {
		provider, cluster string
		change            map[string]string
		want              string
	}{
		"aws":             {"aws", eksCluster, nil, "True"},
		"aws-given":       {"aws", eksCluster, given, "True"},
		"aws-no-cluster":  {"aws", "", given, `cluster "": want the cloud's name`},
		"aws-no-role":     {"aws", eksCluster, map[string]string{"serviceAccountName": "plain"}, "/plain has no annotation eks.amazonaws.com/role-arn"},
		"gcp":             {"gcp", gkeCluster, nil, "True"},
		"gcp-given":       {"gcp", "", given, "True"},
		"gcp-gone":        {"gcp", "projects/p/locations/l/clusters/gone", nil, "the cloud answers 404 Not Found; or set address and ca.crt"},
		"gcp-no-pool":     {"gcp", gkeCluster, map[string]string{"serviceAccountName": "plain"}, "has no annotation gcp.auth.fluxcd.io"},
		"azure":           {"azure", aksCluster, nil, "True"},
		"azure-given":     {"azure", "", given, "True"},
		"azure-odd":       {"azure", "/subscriptions/../x", nil, "want the cloud's name"},
		"azure-no-client": {"azure", aksCluster, map[string]string{"serviceAccountName": "plain"}, "lacks the annotations azure.workload.identity"},
		"no-account":      {"azure", aksCluster, map[string]string{"serviceAccountName": ""}, "serviceAccountName is missing"},
		"unknown":         {"acme", "far", nil, `provider "acme" is not known`},
	} {
		data := map[string]string{"provider": tc.provider, "cluster": tc.cluster, "serviceAccountName": "cloud-user"}
		maps.Copy(data, tc.change)
		if err := b.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: "to-" + name}, Data: data}); err != nil {
			t.Fatal(err)
		}
		files[name+"/a.yaml"] = configMap("by-"+name, "one")
		b.push("main@sha1:"+name, maps.Clone(files))
		b.create(name, func(s *kustomizev1.KustomizationSpec) {
			s.Path, s.KubeConfig = name, &meta.KubeConfigReference{ConfigMapRef: &meta.LocalObjectReference{Name: "to-" + name}}
		})
		if tc.want != "True" {
			b.says(name, "False/ReconciliationFailed", tc.want)
			continue
		}
		b.ready(name, "True")
		if b.gone("by-" + name) {
			t.Errorf("%s: nothing was applied", name)
		}
	}
}
