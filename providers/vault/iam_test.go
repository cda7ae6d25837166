package vault_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/aws"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/vault"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

var cloud = testenv.Share(func(t testing.TB) (*testenv.AWS, error) {
	cp := cluster.Get(t)
	return testenv.StartAWS(t.Context(), testenv.AWSOptions{Issuer: cp.Issuer(), IssuerCA: cp.CA()})
})

// verifier logs in as the AWS auth method of Vault does: it sends the signed
// request on to STS, and lets in whom STS says that it is. OpenBao has no such
// auth method.
// Source: https://developer.hashicorp.com/vault/docs/auth/aws#iam-auth-method
type verifier struct {
	t        *testing.T
	aws      *testenv.AWS
	host     string // that the request must be for
	serverID string
	arn      string // of who is let in; a prefix
	logins   atomic.Int32
}

func (v *verifier) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/v1/auth/aws/login" {
		fixed(200, kv(`{"a":"b"}`))(w, r)
		return
	}
	v.logins.Add(1)
	var in map[string]string
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in["role"] != "app" {
		fixed(400, `{"errors":["missing role"]}`)(w, r)
		return
	}
	if arn, err := v.ask(r.Context(), in); err != nil || !strings.HasPrefix(arn, v.arn) {
		fixed(403, `{"errors":["permission denied"]}`)(w, r)
		return
	}
	fixed(200, `{"auth":{"client_token":"t","lease_duration":3600}}`)(w, r)
}

// ask sends the request of a login to STS, and returns who it says signed it.
func (v *verifier) ask(ctx context.Context, in map[string]string) (string, error) {
	text := func(key string) []byte {
		b, err := base64.StdEncoding.DecodeString(in[key])
		if err != nil {
			v.t.Errorf("%s: %v", key, err)
		}
		return b
	}
	at, err := url.Parse(string(text("iam_request_url")))
	if err != nil || at.Host != v.host {
		v.t.Errorf("the request is for %v, want %s", at, v.host)
	}
	header := http.Header{}
	if err := json.Unmarshal(text("iam_request_headers"), &header); err != nil {
		return "", err
	}
	signed := strings.Split(strings.Split(strings.Split(header.Get("Authorization"), "SignedHeaders=")[1], ",")[0], ";")
	if v.serverID != "" && (header.Get("X-Vault-Aws-Iam-Server-Id") != v.serverID || !slices.Contains(signed, "x-vault-aws-iam-server-id")) {
		return "", errors.New("for another server")
	}
	onward, err := http.NewRequestWithContext(ctx, in["iam_http_request_method"], v.aws.Address()+at.RequestURI(), bytes.NewReader(text("iam_request_body")))
	if err != nil {
		return "", err
	}
	onward.Header, onward.Host = header, at.Host
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(v.aws.CA)
	web := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	answer, err := web.Do(onward)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		return "", errors.New("STS refuses it")
	}
	return strings.Split(strings.Split(string(body), "<Arn>")[1], "</Arn>")[0], nil
}

// iamCase is a store that logs in by auth.iam, and whether it gets in.
type iamCase struct {
	reason   string
	iam      map[string]any
	ambient  bool
	endpoint bool // STS is not where AWS has it
	host     string
	arn      string
	denied   error
}

var byKey = map[string]any{"accessKeyIDSecretRef": map[string]string{"name": "k", "key": "id"}, "secretAccessKeySecretRef": map[string]string{"name": "k", "key": "secret"}}

func iamCases(t *testing.T, a *testenv.AWS, ns string) map[string]iamCase {
	t.Helper()
	role, err := a.Role(t.Context(), testenv.AWSRole{Name: "chained", Principals: []string{a.UserARN("vault")}, ExternalID: "id"})
	must(t, err)
	_, err = a.Role(t.Context(), testenv.AWSRole{Name: "irsa", Subject: "system:serviceaccount:" + ns + ":app"})
	must(t, err)
	at := strings.TrimPrefix(a.Address(), "https://")
	irsa := map[string]any{"serviceAccountRef": map[string]any{"name": "app"}}
	return map[string]iamCase{
		"Key":        {reason: "An access key gets in.", iam: map[string]any{"secretRef": byKey}, host: "sts.amazonaws.com", arn: a.UserARN("vault")},
		"Region":     {reason: "A region has its own endpoint.", iam: map[string]any{"secretRef": byKey, "region": "eu-central-1"}, host: "sts.eu-central-1.amazonaws.com", arn: a.UserARN("vault")},
		"China":      {reason: "With another domain in China.", iam: map[string]any{"secretRef": byKey, "region": "cn-north-1"}, host: "sts.cn-north-1.amazonaws.com.cn", arn: a.UserARN("vault")},
		"ServerID":   {reason: "The server's id is signed.", iam: map[string]any{"secretRef": byKey, "vaultAwsIamServerID": "vault.example.com"}, host: "sts.amazonaws.com", arn: a.UserARN("vault")},
		"Role":       {reason: "A role is assumed first.", iam: map[string]any{"secretRef": byKey, "role": role, "externalID": "id"}, endpoint: true, host: at, arn: "arn:aws:sts::123456789012:assumed-role/chained/"},
		"IRSA":       {reason: "So is that of a ServiceAccount.", iam: map[string]any{"jwt": irsa}, endpoint: true, host: at, arn: "arn:aws:sts::123456789012:assumed-role/irsa/"},
		"Ambient":    {reason: "A store that may have it gets the controller's own identity.", ambient: true, iam: map[string]any{}, host: "sts.amazonaws.com", arn: a.UserARN("vault")},
		"NotAmbient": {reason: "No other one does.", iam: map[string]any{}, host: "sts.amazonaws.com", arn: a.UserARN("vault"), denied: providers.ErrInvalid},
		"Other":      {reason: "Another identity is not let in.", iam: map[string]any{"secretRef": byKey}, host: "sts.amazonaws.com", arn: a.UserARN("someone-else"), denied: providers.ErrDenied},
		"OtherRole":  {reason: "A role that does not trust the key is named.", iam: map[string]any{"secretRef": byKey, "role": role}, endpoint: true, host: at, denied: providers.ErrDenied},
	}
}

func TestIAM(t *testing.T) {
	a, cp := cloud.Get(t), cluster.Get(t)
	ns := cp.Namespace(t)
	key, err := a.User(t.Context(), "vault")
	must(t, err)
	for name, tc := range iamCases(t, a, ns) {
		t.Run(name, func(t *testing.T) {
			v := &verifier{t: t, aws: a, host: tc.host, arn: tc.arn}
			v.serverID, _ = tc.iam["vaultAwsIamServerID"].(string)
			tc.iam["vaultRole"] = "app"
			refs := &conformance.References{
				Accounts: map[string]map[string]string{"app": {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/irsa"}},
				TokenFn: func(ctx context.Context, account string, audiences []string) (string, error) {
					return cp.Token(ctx, ns, account, audiences...)
				},
			}
			refs.Set("k", "id", key.ID)
			refs.Set("k", "secret", key.Secret)
			with := byToken(serve(t, v.ServeHTTP).URL)
			with["auth"] = map[string]any{"iam": tc.iam}
			config := store(t, with, refs)
			config.Ambient = tc.ambient
			e := aws.Endpoints{CA: a.CA, Ambient: awssdk.CredentialsProviderFunc(func(context.Context) (awssdk.Credentials, error) {
				return awssdk.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret}, nil
			})}
			if tc.endpoint {
				e.STS = a.Address()
			}
			wantIAM(t, vault.New(vault.Clouds{AWS: e.Identity}), config, tc)
			if want := int32(1); tc.denied == nil && v.logins.Load() != want {
				t.Errorf("%d logins, want %d", v.logins.Load(), want)
			}
		})
	}
}

// wantIAM opens a store and reads from it three times, or wants an error that
// holds none of what was signed.
func wantIAM(t *testing.T, open providers.Open, config providers.Config, tc iamCase) {
	t.Helper()
	r, err := open(t.Context(), config)
	if tc.denied != nil {
		if !errors.Is(err, tc.denied) || strings.Contains(err.Error(), "AWS4") || strings.Contains(err.Error(), "spec.provider.aws") {
			t.Errorf("%s\nOpen: got %v, want %v without what was signed", tc.reason, err, tc.denied)
		}
		return
	}
	if err != nil {
		t.Fatalf("%s\nOpen: %v", tc.reason, err)
	}
	for range 3 {
		if _, err := r.Read(t.Context(), providers.Ref{Path: "app"}); err != nil {
			t.Errorf("%s\nRead: %v", tc.reason, err)
		}
	}
}

// TestIAMIsNotBound wants the settings of a store to be as they were: the
// login has those of an AWS store in their place.
func TestIAMIsNotBound(t *testing.T) {
	refs := &conformance.References{}
	with := byToken("http://127.0.0.1:1")
	with["auth"] = map[string]any{"iam": map[string]any{"vaultRole": "app", "secretRef": byKey}}
	config := store(t, with, refs)
	before := config.Provider.DeepCopy()
	_, err := vault.Open(t.Context(), config)
	if !errors.Is(err, providers.ErrInvalid) || config.Provider.AWS != nil || config.Provider.Vault.Server != before.Vault.Server {
		t.Errorf("Open: got %v and provider %+v, want ErrInvalid and nothing changed", err, config.Provider)
	}
	if name, err := config.Provider.Name(); err != nil || name != esv1.ProviderVault {
		t.Errorf("provider: got %q, %v, want vault", name, err)
	}
}
