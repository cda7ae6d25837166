package aws_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/aws"
	"github.com/lockstep-dev/lockstep/providers/conformance"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// writer opens a store of a service with the access key of a new user.
func writer(t *testing.T, a *testenv.AWS, service string, refs *conformance.References) providers.Writer {
	t.Helper()
	key, err := a.User(t.Context(), "writer-"+service)
	if err != nil {
		t.Fatal(err)
	}
	refs.Set("k", "id", key.ID)
	refs.Set("k", "secret", key.Secret)
	settings := byKey()
	settings["service"] = service
	r, err := open(t, a, settings, refs)
	if err != nil {
		t.Fatal(err)
	}
	return r.(providers.Writer)
}

// TestWriteSettings writes with everything that a PushSecret can say, then
// again with other settings and the same value, and then the same again.
func TestWriteSettings(t *testing.T) {
	a := server.Get(t)
	refs := &conformance.References{Authority: []byte(`{"Version":"2012-10-17","Statement":[]}`)}
	w := writer(t, a, "SecretsManager", refs)
	canary, at := testenv.NewCanary(t), providers.Target{Path: "settings-" + rand.Text()} // not there yet, each time that the test runs
	write := func(metadata string) map[string]int {
		t.Helper()
		resetCounts(t, a)
		if err := w.Write(t.Context(), at, providers.NewValue([]byte(canary.Value())), json.RawMessage(metadata)); err != nil {
			t.Fatal(err)
		}
		counts, err := a.Counts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return counts
	}
	const all = `{"apiVersion":"kubernetes.external-secrets.io/v1alpha1","kind":"PushSecretMetadata","spec":{
		"kmsKeyID":"alias/a","secretPushFormat":"string","description":"d","tags":{"team":"a"},"replicationLocations":["eu-west-1"],
		"resourcePolicy":{"blockPublicPolicy":true,"policySourceRef":{"kind":"ConfigMap","name":"p","key":"policy.json"}}}}`
	if got := write(all); got["secretsmanager:CreateSecret"] != 1 || got["secretsmanager:PutResourcePolicy"] != 1 {
		t.Errorf("first write: got requests %v", got)
	}
	mustRead(t, w, providers.Ref{Path: at.Path}, canary)
	changed := strings.NewReplacer("alias/a", "alias/b", `"team":"a"`, `"team":"b"`, "eu-west-1", "eu-west-2").Replace(all)
	got := write(changed)
	for operation, want := range map[string]int{"UpdateSecret": 1, "TagResource": 1, "ReplicateSecretToRegions": 1, "PutSecretValue": 0, "PutResourcePolicy": 0} {
		if got["secretsmanager:"+operation] != want {
			t.Errorf("write of other settings: got %d requests %s, want %d", got["secretsmanager:"+operation], operation, want)
		}
	}
	for operation, n := range write(changed) {
		if operation != get && !strings.Contains(operation, "Describe") && !strings.Contains(operation, "GetResourcePolicy") {
			t.Errorf("the same again: got %d requests %s, want none that write", n, operation)
		}
	}
	for _, bad := range []string{`{"tier":"x"}`, `{"secretPushFormat":"yaml"}`, `[]`} {
		if err := w.Write(t.Context(), at, providers.Value{}, json.RawMessage(bad)); !errors.Is(err, providers.ErrInvalid) {
			t.Errorf("Write with metadata %s: got %v, want ErrInvalid", bad, err)
		}
	}
}

// TestWriteAfterDelete wants a deleted secret that can be restored to be.
func TestWriteAfterDelete(t *testing.T) {
	a := server.Get(t)
	w := writer(t, a, "SecretsManager", &conformance.References{})
	canary := testenv.NewCanary(t)
	for range 2 {
		if err := w.Write(t.Context(), providers.Target{Path: "restored"}, providers.NewValue([]byte(canary.Value())), nil); err != nil {
			t.Fatal(err)
		}
		mustRead(t, w, providers.Ref{Path: "restored"}, canary)
		if err := w.Delete(t.Context(), providers.Target{Path: "restored"}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Read(t.Context(), providers.Ref{Path: "restored"}); !errors.Is(err, providers.ErrNotFound) {
			t.Errorf("Read of a secret that is marked for deletion: got %v, want ErrNotFound", err)
		}
	}
}

func TestParameterSettings(t *testing.T) {
	a := server.Get(t)
	w := writer(t, a, "ParameterStore", &conformance.References{})
	canary, at := testenv.NewCanary(t), "/settings/"+rand.Text() // not there yet, each time that the test runs
	for _, metadata := range []string{
		`{"secretType":"SecureString","kmsKeyID":"alias/a","tier":{"type":"Advanced"},"tags":{"team":"a"}}`,
		`{"secretType":"SecureString","tags":{"team":"b"}}`,
	} {
		if err := w.Write(t.Context(), providers.Target{Path: at}, providers.NewValue([]byte(canary.Value())), json.RawMessage(metadata)); err != nil {
			t.Fatal(err)
		}
		mustRead(t, w, providers.Ref{Path: at}, canary)
		mustRead(t, w, providers.Ref{Path: at, Version: "1"}, canary)
	}
	v, err := w.(providers.MetadataReader).Metadata(t.Context(), providers.Ref{Path: at})
	if err != nil || string(v.Bytes()) != `{"managed-by":"external-secrets","team":"b"}` {
		t.Errorf("Metadata: got %s, %v", v.Bytes(), err)
	}
}

func TestSessionTags(t *testing.T) {
	a := server.Get(t)
	canary := plant(t, a, "tagged")
	key, err := a.User(t.Context(), "tagger")
	if err != nil {
		t.Fatal(err)
	}
	role, err := a.Role(t.Context(), testenv.AWSRole{Name: "tagged", Principals: []string{a.UserARN("tagger")}, Tags: []string{"team=a", "+team"}})
	if err != nil {
		t.Fatal(err)
	}
	settings := byKey()
	settings["role"] = role
	if _, err := open(t, a, settings, keyPair(key.ID, key.Secret)); !errors.Is(err, providers.ErrDenied) {
		t.Errorf("Open without the tags that the role wants: got %v, want ErrDenied", err)
	}
	settings["sessionTags"] = []map[string]string{{"key": "team", "value": "a"}}
	settings["transitiveTagKeys"] = []string{"team"}
	r, err := open(t, a, settings, keyPair(key.ID, key.Secret))
	if err != nil {
		t.Fatal(err)
	}
	mustRead(t, r, providers.Ref{Path: "tagged"}, canary)
}

func TestAmbient(t *testing.T) {
	a := server.Get(t)
	canary := plant(t, a, "ambient")
	key, err := a.User(t.Context(), "controller")
	if err != nil {
		t.Fatal(err)
	}
	// What the SDK finds in the environment of the controller.
	t.Setenv("AWS_ACCESS_KEY_ID", key.ID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", key.Secret)
	backend := aws.New(aws.Endpoints{SecretsManager: a.Address(), CA: a.CA, Ambient: aws.Ambient()})
	config := store(t, with(map[string]any{}), &conformance.References{})
	if _, err := backend(t.Context(), config); !errors.Is(err, providers.ErrInvalid) {
		t.Errorf("Open without auth where the controller's identity is not allowed: got %v, want ErrInvalid", err)
	}
	config.Ambient = true
	r, err := backend(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	mustRead(t, r, providers.Ref{Path: "ambient"}, canary)
}

// TestAmbientIsNotForOthers wants a store that names an identity to get that
// one, or none.
func TestAmbientIsNotForOthers(t *testing.T) {
	asked := false
	ambient := sdk.CredentialsProviderFunc(func(ctx context.Context) (sdk.Credentials, error) {
		asked = true
		return sdk.Credentials{}, ctx.Err()
	})
	config := store(t, byKey(), &conformance.References{})
	config.Ambient = true
	if _, err := aws.New(aws.Endpoints{Ambient: ambient})(t.Context(), config); err == nil || asked {
		t.Errorf("Open with a Secret that is missing: got %v, and the controller's identity asked for: %v", err, asked)
	}
}

// TestParameterKeepsItsSettings changes what is said, and keeps what is not.
func TestParameterKeepsItsSettings(t *testing.T) {
	a := server.Get(t)
	w := writer(t, a, "ParameterStore", &conformance.References{})
	canary, other := testenv.NewCanary(t), testenv.NewCanary(t)
	steps := []struct {
		reason, metadata string
		value            *testenv.Canary
		puts             int
	}{
		{"A parameter is made.", `{"secretType":"SecureString","kmsKeyID":"alias/a","description":"d","tier":{"type":"Advanced","policies":[{"Type":"NoChangeNotification","Version":"1.0","Attributes":{"After":"20","Unit":"Days"}}]}}`, canary, 1},
		{"The same again is not written.", `{"secretType":"SecureString","kmsKeyID":"alias/a","description":"d","tier":{"type":"Advanced","policies":[{"Version":"1.0","Type":"NoChangeNotification","Attributes":{"Unit":"Days","After":"20"}}]}}`, canary, 0},
		{"Nothing said is nothing changed.", `{}`, canary, 0},
		{"Another description is.", `{"description":"e"}`, canary, 1},
		{"Other policies are.", `{"tier":{"type":"Advanced","policies":[]}}`, canary, 1},
		{"Another value is, with the key as it was.", `{}`, other, 1},
		{"It has the type and the key that it had.", `{"secretType":"SecureString","kmsKeyID":"alias/a","description":"e","tier":{"type":"Advanced"}}`, other, 0},
	}
	for _, step := range steps {
		resetCounts(t, a)
		if err := w.Write(t.Context(), providers.Target{Path: "/kept"}, providers.NewValue([]byte(step.value.Value())), json.RawMessage(step.metadata)); err != nil {
			t.Fatalf("%s\nWrite: %v", step.reason, err)
		}
		counts, err := a.Counts(t.Context())
		if err != nil || counts["ssm:PutParameter"] != step.puts {
			t.Errorf("%s\nWrite: got requests %v, %v, want %d ssm:PutParameter", step.reason, counts, err, step.puts)
		}
		mustRead(t, w, providers.Ref{Path: "/kept"}, step.value)
	}
}
