package gcp_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/gcp"
)

// refuses answers as a server of gRPC does that has nothing to give.
func refuses(t *testing.T) func(w http.ResponseWriter, throttled bool, leak string) {
	t.Helper()
	return func(w http.ResponseWriter, throttled bool, leak string) {
		refusal := status.New(codes.PermissionDenied, leak)
		if throttled {
			var err error
			refusal, err = status.New(codes.ResourceExhausted, leak).WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(7 * time.Second)})
			if err != nil {
				t.Error(err)
				return
			}
		}
		details, err := proto.Marshal(refusal.Proto())
		if err != nil {
			t.Error(err)
			return
		}
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Grpc-Status", strconv.Itoa(int(refusal.Code())))
		w.Header().Set("Grpc-Message", leak)
		w.Header().Set("Grpc-Status-Details-Bin", base64.RawStdEncoding.EncodeToString(details))
	}
}

// TestFaults has Secret Manager fail.
func TestFaults(t *testing.T) {
	conformance.TestFaults(t, conformance.Faulty{
		Open: func(t *testing.T, web *httptest.Server) (providers.Reader, providers.Ref, string) {
			t.Helper()
			const token = "token-of-the-test"
			config := store(t, map[string]any{"projectID": "team"}, &conformance.References{})
			config.Ambient = true
			r, err := gcp.New(gcp.Endpoints{
				SecretManager: strings.TrimPrefix(web.URL, "https://"), CA: pemOf(web),
				Ambient: func(context.Context) (string, time.Time, error) { return token, time.Now().Add(time.Hour), nil },
			})(t.Context(), config)
			must(t, err)
			return r, providers.Ref{Path: "app"}, token
		},
		TLS: true, Refuses: refuses(t), Hangs: 11 * time.Second,
	})
}

// opened opens a store with each Read, and so logs in.
type opened func(context.Context) (providers.Reader, error)

// Read implements providers.Reader.
func (o opened) Read(ctx context.Context, ref providers.Ref) (providers.Value, error) {
	r, err := o(ctx)
	if err != nil {
		return providers.Value{}, err
	}
	return r.Read(ctx, ref)
}

// TestFaultsOfLogin has what gives tokens fail.
func TestFaultsOfLogin(t *testing.T) {
	conformance.TestFaults(t, conformance.Faulty{
		Open: func(t *testing.T, web *httptest.Server) (providers.Reader, providers.Ref, string) {
			t.Helper()
			const token = "token-of-the-test"
			refs := &conformance.References{
				Accounts: map[string]map[string]string{"app": nil},
				TokenFn:  func(context.Context, string, []string) (string, error) { return token, nil },
			}
			config := store(t, map[string]any{"projectID": "team", "auth": map[string]any{"workloadIdentityFederation": map[string]any{
				"serviceAccountRef": map[string]string{"name": "app"}, "audience": pool}}}, refs)
			backend := gcp.New(gcp.Endpoints{SecretManager: "127.0.0.1:1", STS: web.URL, IAM: web.URL, IdentityBinding: web.URL, CA: pemOf(web)})
			return opened(func(ctx context.Context) (providers.Reader, error) { return backend(ctx, config) }), providers.Ref{Path: "app"}, token
		},
		TLS: true, Denied: `{"error":"invalid_grant"}`, Hangs: 11 * time.Second,
	})
}
