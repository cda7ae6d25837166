package gcp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/gcp"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// recorder stands for Google, and notes what was read and sent.
type recorder struct {
	secretmanagerpb.UnimplementedSecretManagerServiceServer
	conformance.References

	sent   []string
	refuse error // what every access is answered with; nil: with what is there
}

func (r *recorder) notef(format string, args ...any) {
	r.sent = append(r.sent, fmt.Sprintf(format, args...))
}

// AccessSecretVersion says that the latest version is disabled.
func (r *recorder) AccessSecretVersion(ctx context.Context, in *secretmanagerpb.AccessSecretVersionRequest) (*secretmanagerpb.AccessSecretVersionResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	r.notef("access %s %s", in.GetName(), md.Get("authorization"))
	if r.refuse != nil {
		return nil, r.refuse
	}
	if strings.HasSuffix(in.GetName(), "/latest") {
		return nil, status.Error(codes.FailedPrecondition, "disabled")
	}
	return &secretmanagerpb.AccessSecretVersionResponse{Payload: &secretmanagerpb.SecretPayload{Data: []byte("v")}}, nil
}

// ListSecretVersions has one that is not.
func (r *recorder) ListSecretVersions(_ context.Context, in *secretmanagerpb.ListSecretVersionsRequest) (*secretmanagerpb.ListSecretVersionsResponse, error) {
	r.notef("list %s", in.GetParent())
	return &secretmanagerpb.ListSecretVersionsResponse{Versions: []*secretmanagerpb.SecretVersion{{Name: in.GetParent() + "/versions/1"}}}, nil
}

// ServeHTTP gives a token of whoever asks.
func (r *recorder) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if err := q.ParseForm(); err != nil {
		http.Error(w, "no form", http.StatusBadRequest)
		return
	}
	body, _ := io.ReadAll(q.Body) // what is missing makes a difference, too
	r.notef("%s %s %s %s %s", q.URL.Path, q.Header.Get("Authorization"), q.Form.Get("audience"), q.Form.Get("subject_token"), body)
	if strings.Contains(q.URL.Path, "/serviceAccounts/") {
		fmt.Fprintf(w, `{"accessToken":"as %s","expireTime":"2099-01-01T00:00:00Z"}`, q.URL.Path)
		return
	}
	fmt.Fprint(w, `{"access_token":"token","expires_in":3600}`)
}

// Secret implements providers.References.
func (r *recorder) Secret(ctx context.Context, ref esv1.SecretKeySelector) (providers.Value, error) {
	r.notef("reads %s of Secret %s", ref.Key, ref.Name)
	return r.References.Secret(ctx, ref)
}

// start runs a recorder, and returns where it gives tokens and secrets.
func (r *recorder) start(t *testing.T) (web *httptest.Server, host string) {
	t.Helper()
	web = httptest.NewTLSServer(r)
	t.Cleanup(web.Close)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	google := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&web.TLS.Certificates[0])))
	secretmanagerpb.RegisterSecretManagerServiceServer(google, r)
	go func() { _ = google.Serve(listener) }() // it ends with Stop
	t.Cleanup(google.Stop)
	return web, listener.Addr().String()
}

// TestRetryAfter wants to be told how long Google asks to wait.
func TestRetryAfter(t *testing.T) {
	refused, err := status.New(codes.ResourceExhausted, "leak").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(7 * time.Second)})
	must(t, err)
	r := &recorder{refuse: refused.Err()}
	_, key := keyOf(t, server.Get(t), testenv.GCPPrincipal{Name: "retry@team.iam.gserviceaccount.com"})
	r.Set("k", "key.json", key)
	web, host := r.start(t)
	opened, err := gcp.New(gcp.Endpoints{SecretManager: host, STS: web.URL, CA: pemOf(web)})(t.Context(), store(t, byKey(), r))
	must(t, err)
	_, err = opened.Read(t.Context(), providers.Ref{Path: "app"})
	if wait, ok := errors.AsType[providers.Throttled](err); !ok || wait.After != 7*time.Second || strings.Contains(err.Error(), "leak") {
		t.Errorf("Read: got %v, want a Throttled of 7s without what Google said", err)
	}
}

// TestFields is the inventory of spec.provider.gcpsm.
func TestFields(t *testing.T) {
	r := &recorder{References: conformance.References{Accounts: map[string]map[string]string{"app": nil, "other": nil},
		TokenFn: func(_ context.Context, account string, _ []string) (string, error) { return "token-of-" + account, nil }}}
	web, host := r.start(t)
	_, key := keyOf(t, server.Get(t), testenv.GCPPrincipal{Name: "fields@team.iam.gserviceaccount.com"})
	r.Set("k", "key.json", key)
	r.Set("other", "key.json", key)
	for _, name := range []string{"aws", "more"} {
		r.Set(name, "aws_access_key_id", "AKIA")
		r.Set(name, "aws_secret_access_key", "secret")
	}
	r.Authority = credConfig(t, map[string]any{"url": web.URL + "/token"}, nil)
	trace := func(t *testing.T, config providers.Config) (string, error) {
		t.Helper()
		r.sent, config.References = nil, r
		opened, err := gcp.New(gcp.Endpoints{SecretManager: host, STS: web.URL, IAM: web.URL, IdentityBinding: web.URL, CA: pemOf(web)})(t.Context(), config)
		if err != nil {
			return "", err
		}
		v, err := opened.Read(t.Context(), providers.Ref{Path: "app"})
		if err != nil && !errors.Is(err, providers.ErrDenied) { // a version that is disabled
			return "", err
		}
		return strings.Join(append(slices.Clone(r.sent), string(v.Bytes())), "\n"), nil
	}
	conformance.Fields{Provider: "gcpsm", Settings: esv1.GCPProvider{}, Base: byKey(), Served: served(web.URL), Trace: trace}.Test(t)
}

func served(url string) map[string]conformance.Change {
	const gke, wif = "auth.workloadIdentity.", "auth.workloadIdentityFederation."
	app, other := map[string]string{"name": "app"}, map[string]string{"name": "other"}
	with := func(base conformance.Change, field string, value any) conformance.Change {
		all := conformance.Change{"auth.secretRef": nil, field: value}
		for name, v := range base {
			if name != field {
				all[name] = v
			}
		}
		return all
	}
	cluster := conformance.Change{gke + "serviceAccountRef": app, gke + "clusterLocation": "europe-west3", gke + "clusterName": "prod"}
	pooled := conformance.Change{wif + "serviceAccountRef": app, wif + "audience": pool}
	configured := conformance.Change{wif + "credConfig": map[string]string{"name": "gcp", "key": "config.json"}}
	fromAWS := conformance.Change{wif + "audience": pool, wif + "awsSecurityCredentials.region": "eu-central-1", wif + "awsSecurityCredentials.awsCredentialsSecretRef": map[string]string{"name": "aws"}}
	return map[string]conformance.Change{
		"projectID": {"projectID": "other"}, "location": {"location": "europe-west3"}, "secretVersionSelectionPolicy": {"secretVersionSelectionPolicy": "LatestOrFetch"},
		"auth.secretRef.secretAccessKeySecretRef":              {"auth.secretRef.secretAccessKeySecretRef": map[string]string{"name": "other", "key": "key.json"}},
		gke + "serviceAccountRef":                              with(cluster, gke+"serviceAccountRef", other),
		gke + "clusterLocation":                                with(cluster, gke+"clusterLocation", "us-east1"),
		gke + "clusterName":                                    with(cluster, gke+"clusterName", "staging"),
		gke + "clusterProjectID":                               with(cluster, gke+"clusterProjectID", "clusters"),
		wif + "serviceAccountRef":                              with(pooled, wif+"serviceAccountRef", other),
		wif + "audience":                                       with(pooled, wif+"audience", strings.Replace(pool, "projects/1", "projects/2", 1)),
		wif + "gcpServiceAccountEmail":                         with(pooled, wif+"gcpServiceAccountEmail", email),
		wif + "credConfig":                                     with(configured, wif+"externalTokenEndpoint", url+"/token"),
		wif + "externalTokenEndpoint":                          with(configured, wif+"externalTokenEndpoint", url+"/token"),
		wif + "awsSecurityCredentials.region":                  with(fromAWS, wif+"awsSecurityCredentials.region", "us-east-1"),
		wif + "awsSecurityCredentials.awsCredentialsSecretRef": with(fromAWS, wif+"awsSecurityCredentials.awsCredentialsSecretRef", map[string]string{"name": "more"}),
	}
}
