package gcp_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/providers/gcp"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

var (
	cluster = testenv.Share(func(t testing.TB) (*testenv.ControlPlane, error) {
		return testenv.StartControlPlane(t.Context(), testenv.Options{})
	})
	aws = testenv.Share(func(t testing.TB) (*testenv.AWS, error) {
		return testenv.StartAWS(t.Context(), testenv.AWSOptions{})
	})
	// server trusts the ServiceAccounts of cluster, and who aws knows.
	server = testenv.Share(func(t testing.TB) (*testenv.GCP, error) {
		cp := cluster.Get(t)
		return testenv.StartGCP(t.Context(), testenv.GCPOptions{Issuer: cp.Issuer(), IssuerCA: cp.CA(), AWS: aws.Get(t)})
	})
)

func TestMain(m *testing.M) { testenv.Main(m) }

const (
	project  = "projects/team"
	pool     = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k"
	email    = "reader@team.iam.gserviceaccount.com"
	accessed = "AccessSecretVersion"
)

func endpoints(g *testenv.GCP) gcp.Endpoints {
	return gcp.Endpoints{SecretManager: g.Host(), STS: g.Address(), IAM: g.Address(), IdentityBinding: g.Address(), CA: g.CA}
}

// store makes the config of a store with the settings of a provider as JSON.
func store(t *testing.T, settings map[string]any, refs providers.References) providers.Config {
	t.Helper()
	text, err := json.Marshal(map[string]any{"gcpsm": settings})
	must(t, err)
	var p esv1.SecretStoreProvider
	must(t, json.Unmarshal(text, &p))
	return providers.Config{Provider: &p, References: refs}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// byKey are the settings of a store with the key of a service account.
func byKey() map[string]any {
	return map[string]any{"projectID": "team", "auth": map[string]any{"secretRef": map[string]any{
		"secretAccessKeySecretRef": map[string]string{"name": "k", "key": "key.json"}}}}
}

// keyOf makes a service account, and refers to its key.
func keyOf(t *testing.T, g *testenv.GCP, p testenv.GCPPrincipal) (*conformance.References, string) {
	t.Helper()
	key, err := g.Key(t.Context(), p)
	must(t, err)
	refs := &conformance.References{}
	refs.Set("k", "key.json", string(key))
	return refs, string(key)
}

func open(t *testing.T, g *testenv.GCP, settings map[string]any, refs providers.References) providers.Reader {
	t.Helper()
	r, err := gcp.New(endpoints(g))(t.Context(), store(t, settings, refs))
	must(t, err)
	return r
}

func TestConformance(t *testing.T) {
	for name, location := range map[string]string{"Global": "", "Regional": "europe-west3"} {
		t.Run(name, func(t *testing.T) {
			conformance.Test(t, func(t *testing.T) conformance.Backend {
				t.Helper()
				g := server.Get(t)
				refs, key := keyOf(t, g, testenv.GCPPrincipal{Name: "conformance@team.iam.gserviceaccount.com", Allow: []string{"conformance-*"}})
				settings, parent := byKey(), project
				if location != "" {
					settings["location"], parent = location, project+"/locations/"+location
				}
				return conformance.Backend{
					Reader: open(t, g, settings, refs), MissingVersion: "1000", Denied: "elsewhere/denied", Credentials: []string{key[100:200]}, Folder: "conformance-find-",
					Path: func(path string) string { return strings.ReplaceAll(path, "/", "-") },
					Put: func(ctx context.Context, path, object string) (string, error) {
						version, err := g.PutSecret(ctx, testenv.GCPSecret{Parent: parent, ID: path, Value: &object})
						return strconv.Itoa(version), err
					},
					Tag: func(ctx context.Context, path string, tags map[string]string) error {
						_, err := g.PutSecret(ctx, testenv.GCPSecret{Parent: parent, ID: path, Labels: tags})
						return err
					},
				}
			})
		})
	}
}

// plant stores a canary in the secret id.
func plant(t *testing.T, g *testenv.GCP, id string) *testenv.Canary {
	t.Helper()
	c := testenv.NewCanary(t)
	value := c.Value()
	_, err := g.PutSecret(t.Context(), testenv.GCPSecret{Parent: project, ID: id, Value: &value})
	must(t, err)
	return c
}

func mustRead(t *testing.T, r providers.Reader, ref providers.Ref, c *testenv.Canary) {
	t.Helper()
	v, err := r.Read(t.Context(), ref)
	if err != nil || string(v.Bytes()) != c.Value() {
		t.Errorf("Read(%+v): got another value, or %v", ref, err)
	}
}

// accounts refers to the ServiceAccount app of a namespace of cluster.
func accounts(t *testing.T, annotations map[string]string) (*conformance.References, string) {
	t.Helper()
	cp := cluster.Get(t)
	ns := cp.Namespace(t)
	return &conformance.References{
		Accounts: map[string]map[string]string{"app": annotations, "other": nil},
		TokenFn: func(ctx context.Context, account string, audiences []string) (string, error) {
			return cp.Token(ctx, ns, account, audiences...)
		},
	}, "system:serviceaccount:" + ns + ":app"
}

func federation(account string) map[string]any {
	return map[string]any{"projectID": "team", "auth": map[string]any{"workloadIdentityFederation": map[string]any{
		"audience": pool, "serviceAccountRef": map[string]any{"name": account}}}}
}

func TestWorkloadIdentityFederation(t *testing.T) {
	g := server.Get(t)
	canary := plant(t, g, "federation")
	refs, subject := accounts(t, nil)
	must(t, g.Principal(t.Context(), testenv.GCPPrincipal{Name: subject}))
	must(t, g.ResetCounts(t.Context()))
	r := open(t, g, federation("app"), refs)
	for range 5 {
		mustRead(t, r, providers.Ref{Path: "federation"}, canary)
	}
	counts, err := g.Counts(t.Context())
	if err != nil || counts["sts"] != 1 || counts[accessed] != 5 || len(counts) != 2 {
		t.Errorf("5 reads: got %v, %v, want 1 request to STS and 5 to Secret Manager", counts, err)
	}
	if got := refs.Audiences(); len(got) != 1 || got[0] != pool {
		t.Errorf("audiences of the token: got %q, want the pool only", got)
	}
	other := open(t, g, federation("other"), refs)
	if _, err := other.Read(t.Context(), providers.Ref{Path: "federation"}); !errors.Is(err, providers.ErrDenied) {
		t.Errorf("Read as another ServiceAccount: got %v, want ErrDenied", err)
	}
}

func TestImpersonation(t *testing.T) {
	g := server.Get(t)
	canary := plant(t, g, "impersonation")
	refs, subject := accounts(t, map[string]string{"iam.gke.io/gcp-service-account": email})
	must(t, g.Principal(t.Context(), testenv.GCPPrincipal{Name: email, ActAs: []string{subject}}))
	mustRead(t, open(t, g, federation("app"), refs), providers.Ref{Path: "impersonation"}, canary)

	gke := map[string]any{"auth": map[string]any{"workloadIdentity": map[string]any{"clusterProjectID": "team", "clusterLocation": "europe-west3", "clusterName": "prod",
		"serviceAccountRef": map[string]string{"name": "app"}}}}
	mustRead(t, open(t, g, gke, refs), providers.Ref{Path: "impersonation"}, canary)
	if got := refs.Audiences(); len(got) != 1 || got[0] != "team.svc.id.goog" {
		t.Errorf("audiences of the token: got %q, want the pool of the cluster only", got)
	}

	must(t, g.Principal(t.Context(), testenv.GCPPrincipal{Name: email, ActAs: []string{"someone-else"}}))
	_, err := gcp.New(endpoints(g))(t.Context(), store(t, gke, refs))
	if !errors.Is(err, providers.ErrDenied) || !strings.Contains(err.Error(), email) {
		t.Errorf("Open as an account that does not trust us: got %v, want ErrDenied that names it", err)
	}
}

func TestFederationFromAWS(t *testing.T) {
	g, a := server.Get(t), aws.Get(t)
	canary := plant(t, g, "from-aws")
	key, err := a.User(t.Context(), "federated")
	must(t, err)
	must(t, g.Principal(t.Context(), testenv.GCPPrincipal{Name: a.UserARN("federated")}))
	settings := map[string]any{"projectID": "team", "auth": map[string]any{"workloadIdentityFederation": map[string]any{
		"audience": pool, "awsSecurityCredentials": map[string]any{"region": "eu-central-1", "awsCredentialsSecretRef": map[string]string{"name": "aws"}}}}}
	refs := &conformance.References{}
	refs.Set("aws", "aws_access_key_id", key.ID)
	refs.Set("aws", "aws_secret_access_key", key.Secret)
	mustRead(t, open(t, g, settings, refs), providers.Ref{Path: "from-aws"}, canary)
	refs.Set("aws", "aws_secret_access_key", "wrong-secret-key")
	_, err = gcp.New(endpoints(g))(t.Context(), store(t, settings, refs))
	if !errors.Is(err, providers.ErrDenied) || strings.Contains(err.Error(), "wrong-secret-key") {
		t.Errorf("Open with a wrong key: got %v, want ErrDenied without it", err)
	}
}

func TestVersions(t *testing.T) {
	g := server.Get(t)
	refs, _ := keyOf(t, g, testenv.GCPPrincipal{Name: "versions@team.iam.gserviceaccount.com"})
	first, second := plant(t, g, "versions"), plant(t, g, "versions")
	_, err := g.PutSecret(t.Context(), testenv.GCPSecret{Parent: project, ID: "versions", Aliases: map[string]int{"stable": 1}, Labels: map[string]string{"team": "a"}, Annotations: map[string]string{"note": "b"}})
	must(t, err)
	r := open(t, g, byKey(), refs)
	mustRead(t, r, providers.Ref{Path: "versions"}, second)
	mustRead(t, r, providers.Ref{Path: "versions", Version: "latest"}, second)
	mustRead(t, r, providers.Ref{Path: "versions", Version: "stable"}, first)
	about, err := r.(providers.MetadataReader).Metadata(t.Context(), providers.Ref{Path: "versions"})
	if want := `{"annotations":{"note":"b"},"labels":{"team":"a"}}`; err != nil || string(about.Bytes()) != want {
		t.Errorf("Metadata: got %s, %v, want %s", about.Bytes(), err, want)
	}

	_, err = g.PutSecret(t.Context(), testenv.GCPSecret{Parent: project, ID: "versions", Disable: 2})
	must(t, err)
	if _, err := r.Read(t.Context(), providers.Ref{Path: "versions"}); !errors.Is(err, providers.ErrDenied) || errors.Is(err, providers.ErrNotFound) {
		t.Errorf("Read of a disabled version: got %v, want ErrDenied: it was not deleted", err)
	}
	settings := byKey()
	settings["secretVersionSelectionPolicy"] = "LatestOrFetch"
	mustRead(t, open(t, g, settings, refs), providers.Ref{Path: "versions"}, first)
}

func TestTokenIsRenewed(t *testing.T) {
	g := server.Get(t)
	canary := plant(t, g, "renewed")
	refs, _ := keyOf(t, g, testenv.GCPPrincipal{Name: "renewed@team.iam.gserviceaccount.com"})
	r := open(t, g, byKey(), refs)
	mustRead(t, r, providers.Ref{Path: "renewed"}, canary)
	must(t, g.RevokeTokens(t.Context()))
	must(t, g.ResetCounts(t.Context()))
	mustRead(t, r, providers.Ref{Path: "renewed"}, canary)
	counts, err := g.Counts(t.Context())
	if err != nil || counts["oauth"] != 1 || counts[accessed] != 2 {
		t.Errorf("read with a token that was revoked: got %v, %v, want 1 new token and 2 requests", counts, err)
	}
}

func TestFailures(t *testing.T) {
	g := server.Get(t)
	plant(t, g, "failing")
	refs, _ := keyOf(t, g, testenv.GCPPrincipal{Name: "failing@team.iam.gserviceaccount.com"})
	r := open(t, g, byKey(), refs)
	for code, want := range map[string]error{
		"ResourceExhausted": providers.ErrThrottled, "Unavailable": providers.ErrUnavailable, "Internal": providers.ErrUnavailable,
		"InvalidArgument": providers.ErrInvalid, "PermissionDenied": providers.ErrDenied, "FailedPrecondition": providers.ErrDenied,
	} {
		must(t, g.ResetCounts(t.Context()))
		must(t, g.Fail(t.Context(), testenv.Fault{Operation: accessed, Code: code, Times: 1}))
		if _, err := r.Read(t.Context(), providers.Ref{Path: "failing"}); !errors.Is(err, want) || errors.Is(err, providers.ErrNotFound) {
			t.Errorf("Read answered with %s: got %v, want %v", code, err, want)
		}
		if counts, err := g.Counts(t.Context()); err != nil || counts[accessed] != 1 {
			t.Errorf("Read answered with %s: got %v, %v, want 1 request: the controllers decide about retries", code, counts, err)
		}
	}
}

func TestWriteSettings(t *testing.T) {
	g := server.Get(t)
	refs, _ := keyOf(t, g, testenv.GCPPrincipal{Name: "writer@team.iam.gserviceaccount.com"})
	w := open(t, g, byKey(), refs).(providers.Writer)
	canary := testenv.NewCanary(t)
	for _, tc := range []struct {
		metadata, want string
		updates        int
	}{
		{`{"labels":{"team":"a"},"annotations":{"x":"y"},"topics":["projects/team/topics/t"],"cmekKeyName":"k"}`, `{"annotations":{"x":"y"},"labels":{"managed-by":"external-secrets","team":"a"}}`, 0},
		{`{"labels":{"stage":"b"},"mergePolicy":"Merge"}`, `{"annotations":{"x":"y"},"labels":{"managed-by":"external-secrets","stage":"b","team":"a"}}`, 1},
		{`{"labels":{"stage":"b"}}`, `{"annotations":{},"labels":{"managed-by":"external-secrets","stage":"b"}}`, 1},
		{`{"labels":{"stage":"b"}}`, `{"annotations":{},"labels":{"managed-by":"external-secrets","stage":"b"}}`, 0},
	} {
		must(t, g.ResetCounts(t.Context()))
		must(t, w.Write(t.Context(), providers.Target{Path: "settings"}, providers.NewValue([]byte(canary.Value())), json.RawMessage(tc.metadata)))
		counts, err := g.Counts(t.Context())
		must(t, err)
		if counts["UpdateSecret"] != tc.updates {
			t.Errorf("write with %s: got requests %v, want %d UpdateSecret", tc.metadata, counts, tc.updates)
		}
		about, err := w.(providers.MetadataReader).Metadata(t.Context(), providers.Ref{Path: "settings"})
		if err != nil || string(about.Bytes()) != tc.want {
			t.Errorf("write with %s: got %s, %v, want %s", tc.metadata, about.Bytes(), err, tc.want)
		}
	}
	mustRead(t, w, providers.Ref{Path: "settings", Version: "1"}, canary)
	if _, err := w.Read(t.Context(), providers.Ref{Path: "settings", Version: "2"}); !errors.Is(err, providers.ErrNotFound) {
		t.Errorf("the same value four times: got a second version, %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	wif := func(settings map[string]any) map[string]any {
		return map[string]any{"auth": map[string]any{"workloadIdentityFederation": settings}}
	}
	account := map[string]string{"name": "app"}
	cases := map[string]struct {
		reason string
		change map[string]any
		field  string
	}{
		"Project":     {"A project is needed.", map[string]any{"projectID": ""}, "projectID"},
		"Location":    {"A location is no part of another host name.", map[string]any{"location": "x.example.com#1"}, "location"},
		"OwnIdentity": {"The controller's own identity is not for every store.", map[string]any{"auth": map[string]any{}}, "auth"},
		"NoKey":       {"What is missing is named.", map[string]any{"auth": map[string]any{"secretRef": map[string]any{}}}, "auth.secretRef.secretAccessKeySecretRef"},
		"BadKey":      {"A key is JSON of a service account.", map[string]any{"auth": map[string]any{"secretRef": map[string]any{"secretAccessKeySecretRef": map[string]string{"name": "bad", "key": "k"}}}}, "auth.secretRef.secretAccessKeySecretRef"},
		"NoCluster":   {"The metadata service is not asked.", map[string]any{"auth": map[string]any{"workloadIdentity": map[string]any{"serviceAccountRef": account}}}, "auth.workloadIdentity.cluster"},
		"Audience":    {"A token is for a pool only.", wif(map[string]any{"audience": "https://kubernetes.default.svc", "serviceAccountRef": account}), "auth.workloadIdentityFederation.audience"},
		"NoSubject":   {"Someone must be who asks.", wif(map[string]any{"audience": pool}), "auth.workloadIdentityFederation"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			refs := &conformance.References{}
			refs.Set("bad", "k", `{"type":"authorized_user","refresh_token":"hunter2"}`)
			settings := byKey()
			maps.Copy(settings, tc.change)
			_, err := gcp.New(gcp.Endpoints{SecretManager: "127.0.0.1:1", STS: "http://127.0.0.1:1"})(t.Context(), store(t, settings, refs))
			if !errors.Is(err, providers.ErrInvalid) || !strings.Contains(err.Error(), "spec.provider.gcpsm."+tc.field) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s\nOpen: got %v, want ErrInvalid with spec.provider.gcpsm.%s in it", tc.reason, err, tc.field)
			}
		})
	}
}

func TestAmbient(t *testing.T) {
	e := gcp.Endpoints{SecretManager: "127.0.0.1:1", Ambient: func(context.Context) (string, time.Time, error) { return "token", time.Now().Add(time.Hour), nil }}
	config := store(t, map[string]any{"projectID": "team"}, &conformance.References{})
	if _, err := gcp.New(e)(t.Context(), config); !errors.Is(err, providers.ErrInvalid) {
		t.Errorf("Open without auth where the controller's identity is not allowed: got %v, want ErrInvalid", err)
	}
	config.Ambient = true
	if _, err := gcp.New(e)(t.Context(), config); err != nil {
		t.Errorf("Open without auth where it is: %v", err)
	}
}
