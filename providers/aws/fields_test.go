package aws_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/aws"
	"github.com/lockstep-dev/lockstep/providers/conformance"
)

// recorder answers as AWS does, and notes what was sent.
type recorder struct {
	mu    sync.Mutex
	sent  []string
	empty bool // there is no secret yet
}

// scope is who signed a request, and for which region and service.
var scope = regexp.MustCompile(`Credential=([^/]*)/[0-9]*/([^,]*),`)

// Changes from one request to the next.
var token = regexp.MustCompile(`"ClientRequestToken":"[^"]*"`)

func (r *recorder) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, _ := io.ReadAll(q.Body) // what is missing makes a difference, too
	target := q.Header.Get("X-Amz-Target")
	r.notef("%s %s %s %s", target, scope.FindStringSubmatch(q.Header.Get("Authorization")), q.Header.Get("X-Amz-Security-Token"), token.ReplaceAllString(string(body), ""))
	if target == "" {
		action, _, _ := strings.Cut(strings.TrimPrefix(string(body), "Action="), "&")
		fmt.Fprintf(w, `<%[1]sResponse><%[1]sResult><Credentials><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>of %[1]s</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></%[1]sResult></%[1]sResponse>`, action)
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if missing := map[string]string{"DescribeSecret": "ResourceNotFoundException", "GetParameter": "ParameterNotFound"}[target[strings.LastIndexByte(target, '.')+1:]]; r.empty && missing != "" {
		w.Header().Set("X-Amzn-Errortype", missing)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	const tags = `[{"Key":"` + providers.ManagedBy + `","Value":"` + providers.ManagedByValue + `"}]`
	fmt.Fprintf(w, `{"SecretString":"old","Name":"n","Tags":%[1]s,"TagList":%[1]s,"Parameter":{"Name":"n","Value":"old"},"Parameters":[{"Name":"n","Type":"String"}]}`, tags)
}

func (r *recorder) notef(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, fmt.Sprintf(format, args...))
}

// noted are references that note what was read.
type noted struct {
	conformance.References

	notef func(format string, args ...any)
}

// Secret implements providers.References.
func (n *noted) Secret(_ context.Context, ref esv1.SecretKeySelector) (providers.Value, error) {
	n.notef("reads %s of Secret %s", ref.Key, ref.Name)
	return providers.NewValue([]byte(ref.Name + "." + ref.Key)), nil
}

// CA implements providers.References.
func (n *noted) CA(_ context.Context, ref esv1.CAProvider) ([]byte, error) {
	n.notef("reads %s of %s %s", ref.Key, ref.Type, ref.Name)
	return []byte(`{"policy":"of a bucket"}`), nil
}

// Annotations implements providers.References.
func (n *noted) Annotations(_ context.Context, ref esv1.ServiceAccountSelector) (map[string]string, error) {
	return map[string]string{"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/" + ref.Name}, nil
}

// record opens a store at a recorder, uses it, and returns what it sent.
func (r *recorder) record(t *testing.T, config providers.Config, use func(w providers.Writer) error) (string, error) {
	t.Helper()
	server := httptest.NewServer(r)
	defer server.Close()
	config.References = &noted{notef: r.notef, References: conformance.References{TokenFn: func(_ context.Context, account string, _ []string) (string, error) { return "token-of-" + account, nil }}}
	config.Store = providers.Store{Kind: "SecretStore", Name: "store", Namespace: "team-a"}
	opened, err := aws.New(aws.Endpoints{SecretsManager: server.URL, ParameterStore: server.URL, STS: server.URL})(t.Context(), config)
	if err != nil {
		return "", err
	}
	if err := use(opened.(providers.Writer)); err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(slices.Clone(r.sent), "\n"), nil
}

func trace(t *testing.T, config providers.Config) (string, error) {
	t.Helper()
	return (&recorder{}).record(t, config, func(w providers.Writer) error {
		if _, err := w.Read(t.Context(), providers.Ref{Path: "/n"}); err != nil {
			return err
		}
		to := providers.Target{Path: "/n"}
		if err := w.Write(t.Context(), to, providers.NewValue([]byte("new")), nil); err != nil {
			return err
		}
		return w.Delete(t.Context(), to)
	})
}

// TestFields is the inventory of spec.provider.aws.
func TestFields(t *testing.T) {
	base := byKey()
	base["role"] = "arn:aws:iam::123456789012:role/r"
	key := func(key string) map[string]string { return map[string]string{"name": "other", "key": key} }
	conformance.Fields{
		Provider: "aws", Settings: esv1.AWSProvider{}, Base: base, Trace: trace,
		Served: map[string]conformance.Change{
			"service": {"service": "ParameterStore"}, "region": {"region": "us-gov-west-1"}, "role": {"role": "arn:aws:iam::123456789012:role/other"},
			"additionalRoles": {"additionalRoles": []string{"arn:aws:iam::123456789012:role/first"}}, "externalID": {"externalID": "external"},
			"sessionTags":                               {"sessionTags": []map[string]string{{"key": "team", "value": "a"}}},
			"transitiveTagKeys":                         {"transitiveTagKeys": []string{"team"}},
			"sessionTagsPolicy":                         {"sessionTagsPolicy": "Simple"},
			"customSessionTags":                         {"sessionTagsPolicy": "Custom", "customSessionTags": map[string]string{"env": "p"}},
			"prefix":                                    {"prefix": "/team-a"},
			"secretsManager.recoveryWindowInDays":       {"secretsManager.recoveryWindowInDays": 7},
			"secretsManager.forceDeleteWithoutRecovery": {"secretsManager.forceDeleteWithoutRecovery": true},
			"auth.secretRef.accessKeyIDSecretRef":       {"auth.secretRef.accessKeyIDSecretRef": key("id")},
			"auth.secretRef.secretAccessKeySecretRef":   {"auth.secretRef.secretAccessKeySecretRef": key("secret")},
			"auth.secretRef.sessionTokenSecretRef":      {"auth.secretRef.sessionTokenSecretRef": key("token")},
			"auth.jwt.serviceAccountRef":                {"auth.secretRef": nil, "auth.jwt.serviceAccountRef": map[string]string{"name": "app"}},
		},
		Refused: map[string]conformance.Change{"service": {"service": "CertificateManager"}},
	}.Test(t)
}
