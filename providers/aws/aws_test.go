package aws_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/aws"
	"github.com/lockstep-dev/lockstep/providers/conformance"
)

func TestReadAnswers(t *testing.T) {
	const leak = "leaked-by-the-server"
	message := `{"message":"` + leak + `"}`
	cases := map[string]struct {
		reason string
		status int
		code   string
		body   string
		want   error // nil: the value is text
		text   string
	}{
		"String":      {"A string is the value.", 200, "", `{"SecretString":"value"}`, nil, "value"},
		"Binary":      {"So is a binary.", 200, "", `{"SecretBinary":"dmFsdWU="}`, nil, "value"},
		"Nothing":     {"An answer without one does not say that it is gone.", 200, "", `{}`, providers.ErrUnavailable, region},
		"Missing":     {"What is not there is not there.", 400, "ResourceNotFoundException", message, providers.ErrNotFound, region},
		"Deleted":     {"A secret that is marked for deletion is gone.", 400, "InvalidRequestException", `{"message":"because it was marked for deletion."}`, providers.ErrNotFound, "marked for deletion"},
		"BadState":    {"Any other state will not pass.", 400, "InvalidRequestException", message, providers.ErrInvalid, ""},
		"Denied":      {"A right is missing.", 400, "AccessDeniedException", message, providers.ErrDenied, "policies"},
		"Undecrypted": {"The right may be that of a KMS key.", 400, "DecryptionFailure", message, providers.ErrDenied, "kms:Decrypt"},
		"BadKey":      {"A key that AWS does not know is no missing right.", 400, "UnrecognizedClientException", message, providers.ErrDenied, "does not accept the credentials"},
		"Expired":     {"A session ends.", 400, "ExpiredTokenException", message, providers.ErrDenied, "no longer valid"},
		"Throttled":   {"A rate is not a failure.", 400, "ThrottlingException", message, providers.ErrThrottled, ""},
		"BadName":     {"A name that AWS does not allow will never be there.", 400, "ValidationException", message, providers.ErrInvalid, ""},
		"Crash":       {"A fault of AWS passes.", 500, "InternalServiceError", message, providers.ErrUnavailable, "InternalServiceError"},
		"Unknown":     {"So does what we do not know.", 400, "SomethingNewException", message, providers.ErrUnavailable, "SomethingNewException"},
		"NotACode":    {"What is no code is not repeated.", 500, "<b>" + leak, message, providers.ErrUnavailable, ""},
		"HTML404":     {"A proxy cannot say that a secret is gone.", 404, "", `<html>` + leak, providers.ErrUnavailable, ""},
		"HTML200":     {"Nor what its value is.", 200, "", `<html>` + leak, providers.ErrUnavailable, "is not AWS"},
		"TooLarge":    {"There is a limit to what is read.", 200, "", `{"SecretString":"` + strings.Repeat("x", 9<<20) + `"}`, providers.ErrUnavailable, "is not AWS"},
		"Redirect":    {"A redirect is not followed.", 307, "", ``, providers.ErrUnavailable, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			open := aws.New(aws.Endpoints{SecretsManager: serve(t, fixed(tc.status, tc.code, tc.body))})
			r, err := open(t.Context(), store(t, byKey(), keyPair("AKIATEST", secretKey)))
			if err != nil {
				t.Fatal(err)
			}
			v, err := r.Read(t.Context(), providers.Ref{Path: "app"})
			if tc.want == nil {
				if err != nil || string(v.Bytes()) != tc.text {
					t.Errorf("%s\nRead: got %s, %v", tc.reason, v.Bytes(), err)
				}
				return
			}
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) || !strings.Contains(err.Error(), `"app"`) {
				t.Errorf("%s\nRead: got %v, want %q with %q and the name in it", tc.reason, err, tc.want, tc.text)
			}
			if err != nil && (strings.Contains(err.Error(), leak) || strings.Contains(err.Error(), secretKey)) {
				t.Errorf("Read: %v repeats what the server said, or the key", err)
			}
			var wait providers.Throttled
			if errors.As(err, &wait) && wait.After != 7*time.Second {
				t.Errorf("Throttled: got After %s, want 7s", wait.After)
			}
		})
	}
}

func TestOneRequestPerRead(t *testing.T) {
	n := 0
	open := aws.New(aws.Endpoints{SecretsManager: serve(t, func(w http.ResponseWriter, r *http.Request) {
		n++
		fixed(500, "InternalServiceError", `{}`)(w, r)
	})})
	r, err := open(t.Context(), store(t, byKey(), keyPair("AKIATEST", secretKey)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(t.Context(), providers.Ref{Path: "app"}); err == nil || n != 1 {
		t.Errorf("Read that fails: got %d requests and %v, want 1 and an error: the controllers decide about another", n, err)
	}
}

func TestRedirectDoesNotLeakTheRequest(t *testing.T) {
	elsewhere := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s was sent to whom a redirect names", r.Method, r.URL.Path)
	})
	for _, status := range []int{301, 302, 303, 307, 308} {
		open := aws.New(aws.Endpoints{SecretsManager: serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere, status) })})
		r, err := open(t.Context(), store(t, byKey(), keyPair("AKIATEST", secretKey)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Read(t.Context(), providers.Ref{Path: "app"}); !errors.Is(err, providers.ErrUnavailable) {
			t.Errorf("Read, redirected with %d: got %v, want ErrUnavailable", status, err)
		}
	}
}

func TestEnvironmentIsNotRead(t *testing.T) {
	elsewhere := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s was sent to where the environment says", r.Method, r.URL.Path)
	})
	for _, name := range []string{"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL_STS", "HTTP_PROXY", "HTTPS_PROXY"} {
		t.Setenv(name, elsewhere)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "environment")
	t.Setenv("AWS_REGION", "us-east-1")
	var header string
	here := serve(t, func(w http.ResponseWriter, r *http.Request) {
		header = r.Header.Get("Authorization")
		fixed(200, "", `{"SecretString":"value"}`)(w, r)
	})
	r, err := aws.New(aws.Endpoints{SecretsManager: here})(t.Context(), store(t, byKey(), keyPair("AKIATEST", secretKey)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(t.Context(), providers.Ref{Path: "app"}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(header, "Credential=AKIATEST/") || !strings.Contains(header, "/"+region+"/secretsmanager/") {
		t.Errorf("Authorization: got %s, want the store's key and region in it", header)
	}
}

func TestUnreached(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	secure := httptest.NewTLSServer(nil)
	t.Cleanup(secure.Close)
	cases := map[string]struct{ server, text string }{
		"Closed":    {closed.URL, "no connection"},
		"Untrusted": {secure.URL, "certificate is not trusted"},
		"NoName":    {"http://aws.invalid", "name cannot be resolved"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			endpoints := aws.Endpoints{SecretsManager: tc.server, STS: tc.server}
			r, err := aws.New(endpoints)(t.Context(), store(t, byKey(), keyPair("AKIATEST", secretKey)))
			if err != nil {
				t.Fatal(err)
			}
			_, err = r.Read(t.Context(), providers.Ref{Path: "app"})
			_, openErr := aws.New(endpoints)(t.Context(), store(t, byAccount("app"), account("arn:aws:iam::123456789012:role/app", nil)))
			for what, err := range map[string]error{"Read": err, "Open": openErr} {
				if !errors.Is(err, providers.ErrUnavailable) || !strings.Contains(err.Error(), tc.text) {
					t.Errorf("%s: got %v, want ErrUnavailable with %q in it", what, err, tc.text)
				}
			}
		})
	}
}

// account has the ServiceAccount app with the given role.
func account(role string, more map[string]string) *conformance.References {
	annotations := map[string]string{"eks.amazonaws.com/role-arn": role}
	maps.Copy(annotations, more)
	return &conformance.References{Accounts: map[string]map[string]string{"app": annotations, "bare": {}},
		TokenFn: func(context.Context, string, []string) (string, error) { return "jwt-of-the-account", nil }}
}

func TestAudienceOfTheToken(t *testing.T) {
	sts := serve(t, fixed(403, "", `<ErrorResponse><Error><Code>AccessDenied</Code><Message>leak</Message></Error></ErrorResponse>`))
	cases := map[string]struct {
		reason      string
		annotations map[string]string
		want        string
	}{
		"Default":   {"A token is for STS.", nil, "sts.amazonaws.com"},
		"Annotated": {"Unless the ServiceAccount says otherwise.", map[string]string{"eks.amazonaws.com/audience": "sts.amazonaws.com.cn"}, "sts.amazonaws.com.cn"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			const role = "arn:aws:iam::123456789012:role/app"
			refs := account(role, tc.annotations)
			_, err := aws.New(aws.Endpoints{STS: sts})(t.Context(), store(t, byAccount("app"), refs))
			if got := refs.Audiences(); len(got) != 1 || got[0] != tc.want {
				t.Errorf("%s\naudiences: got %q, want %q", tc.reason, got, tc.want)
			}
			for _, part := range []string{role, `"app"`, tc.want} {
				if !errors.Is(err, providers.ErrDenied) || !strings.Contains(err.Error(), part) {
					t.Errorf("Open: got %v, want ErrDenied with %q in it", err, part)
				}
			}
			if err != nil && (strings.Contains(err.Error(), "jwt-of-the-account") || strings.Contains(err.Error(), "leak")) {
				t.Errorf("Open: %v repeats the token, or what the server said", err)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	cases := map[string]struct {
		reason string
		change map[string]any // of the settings
		field  string
	}{
		"Certificates":    {"A service that is not served is named.", map[string]any{"service": "CertificateManager"}, "service"},
		"NoService":       {"There is no default.", map[string]any{"service": ""}, "service"},
		"NoRegion":        {"A region is needed.", map[string]any{"region": ""}, "region"},
		"Region":          {"A region is no part of another URL.", map[string]any{"region": "x.example.com/#"}, "region"},
		"Tags":            {"They go with a role.", map[string]any{"sessionTags": []map[string]string{{"key": "a", "value": "b"}}}, "sessionTags"},
		"TransitiveTags":  {"They go with a role.", map[string]any{"transitiveTagKeys": []string{"a"}}, "transitiveTagKeys"},
		"TagsPolicy":      {"It goes with a role.", map[string]any{"sessionTagsPolicy": "Simple"}, "sessionTagsPolicy"},
		"OtherPolicy":     {"There are three.", map[string]any{"sessionTagsPolicy": "All", "role": "arn:aws:iam::123456789012:role/r"}, "sessionTagsPolicy"},
		"CustomTags":      {"They go with a policy.", map[string]any{"customSessionTags": map[string]string{"a": "b"}}, "customSessionTags"},
		"OwnTags":         {"Who a read is for is no setting.", map[string]any{"sessionTagsPolicy": "Simple", "role": "arn:aws:iam::123456789012:role/r", "sessionTags": []map[string]string{{"key": "EsoNamespace", "value": "other"}}}, "sessionTags"},
		"ExternalID":      {"It goes with a role.", map[string]any{"externalID": "a"}, "externalID"},
		"OwnIdentity":     {"The controller's own identity is not for every store.", map[string]any{"auth": map[string]any{}}, "auth"},
		"OwnIdentityRole": {"Not for a role either.", map[string]any{"auth": map[string]any{}, "role": "arn:aws:iam::123456789012:role/r"}, "auth"},
		"NoAccount":       {"A jwt is a ServiceAccount's.", map[string]any{"auth": map[string]any{"jwt": map[string]any{}}}, "auth.jwt"},
		"NoSuchAccount":   {"What is missing is named by the field that refers to it.", byAccount("none"), "auth.jwt.serviceAccountRef"},
		"NoAnnotation":    {"A ServiceAccount names its role.", byAccount("bare"), "auth.jwt.serviceAccountRef"},
		"NoSuchSecret":    {"What is missing is named by the field that refers to it.", map[string]any{"auth": map[string]any{"secretRef": map[string]any{}}}, "auth.secretRef.accessKeyIDSecretRef"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			refs := account("arn:aws:iam::123456789012:role/app", nil)
			refs.Set("k", "id", "AKIATEST")
			refs.Set("k", "secret", secretKey)
			settings := byKey()
			maps.Copy(settings, tc.change)
			_, err := aws.New(aws.Endpoints{SecretsManager: "http://127.0.0.1:1", STS: "http://127.0.0.1:1"})(t.Context(), store(t, settings, refs))
			if !errors.Is(err, providers.ErrInvalid) || !strings.Contains(err.Error(), "spec.provider.aws."+tc.field) {
				t.Errorf("%s\nOpen: got %v, want ErrInvalid with spec.provider.aws.%s in it", tc.reason, err, tc.field)
			}
		})
	}
}
