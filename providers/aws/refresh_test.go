package aws_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/aws"
	"github.com/lockstep-dev/lockstep/test/testenv"
)

// TestRefreshTakesOneRequest is the first figure of docs/benchmarks.md at the
// level of the backend: ten keys, IRSA and one role. External Secrets Operator
// makes 22 requests of it: AssumeRoleWithWebIdentity, and for each key
// AssumeRole and GetSecretValue, and a TokenRequest.
func TestRefreshTakesOneRequest(t *testing.T) {
	for _, tc := range []struct{ service, operation string }{{"SecretsManager", batch}, {"ParameterStore", batchParameter}} {
		t.Run(tc.service, func(t *testing.T) {
			a, refs := irsa(t, testenv.AWSRole{Name: "refresh-" + tc.service})
			role, err := a.Role(t.Context(), testenv.AWSRole{Name: "team-" + tc.service, Principals: []string{"arn:aws:sts::*:assumed-role/refresh-" + tc.service + "/*"}})
			if err != nil {
				t.Fatal(err)
			}
			settings := byAccount("app")
			settings["service"], settings["role"] = tc.service, role
			wanted, canaries := plantMany(t, "/refresh-"+tc.service+"/", 10, func(name, value string) {
				put := func() (err error) { _, err = a.PutSecret(t.Context(), region, name, value); return err }
				if tc.service == "ParameterStore" {
					put = func() (err error) { _, err = a.PutParameter(t.Context(), region, name, value); return err }
				}
				if err := put(); err != nil {
					t.Fatal(err)
				}
			})
			r, err := open(t, a, settings, refs)
			if err != nil {
				t.Fatal(err)
			}
			for refresh := range 3 {
				resetCounts(t, a)
				for i, got := range providers.ReadAll(t.Context(), r, wanted) {
					if got.Err != nil || string(got.Value.Bytes()) != canaries[i].Value() {
						t.Errorf("ReadAll of %s: got another value, or %v", wanted[i].Path, got.Err)
					}
				}
				got, err := a.Counts(t.Context())
				if err != nil || fmt.Sprint(got) != fmt.Sprintf("map[%s:1]", tc.operation) {
					t.Errorf("refresh %d: got requests %v, %v, want one %s and nothing else", refresh, got, err, tc.operation)
				}
			}
		})
	}
}

// TestParameterVersions reads a parameter by number and by label, as its owner
// sets them with the SDK.
func TestParameterVersions(t *testing.T) {
	a := server.Get(t)
	key, err := a.User(t.Context(), "labeller")
	if err != nil {
		t.Fatal(err)
	}
	settings := byKey()
	settings["service"] = "ParameterStore"
	r, err := open(t, a, settings, keyPair(key.ID, key.Secret))
	if err != nil {
		t.Fatal(err)
	}
	name := "/labels/" + rand.Text() // its versions begin with 1, each time that the test runs
	_, canaries := plantMany(t, "", 3, func(_, value string) {
		if _, err := a.PutParameter(t.Context(), region, name, value); err != nil {
			t.Fatal(err)
		}
	})
	owner := aws.ParametersForTest(r)
	if _, err := owner.LabelParameterVersion(t.Context(), &ssm.LabelParameterVersionInput{Name: &name, ParameterVersion: sdk.Int64(2), Labels: []string{"stable"}}); err != nil {
		t.Fatal(err)
	}
	var refs []providers.Ref
	want := []*testenv.Canary{canaries[2], canaries[0], canaries[1], canaries[1]}
	for _, version := range []string{"", "1", "2", "stable"} {
		refs = append(refs, providers.Ref{Path: name, Version: version})
	}
	resetCounts(t, a)
	for i, got := range providers.ReadAll(t.Context(), r, refs) {
		if got.Err != nil || string(got.Value.Bytes()) != want[i].Value() {
			t.Errorf("ReadAll of version %q: got another value, or %v", refs[i].Version, got.Err)
		}
		mustRead(t, r, refs[i], want[i])
	}
	if got, err := a.Counts(t.Context()); err != nil || got[batchParameter] != 1 {
		t.Errorf("four versions of a parameter: got %v, %v, want one request %s", got, err, batchParameter)
	}
	for _, version := range []string{"9", "nosuch"} {
		if _, err := r.Read(t.Context(), providers.Ref{Path: name, Version: version}); !errors.Is(err, providers.ErrNotFound) {
			t.Errorf("Read of version %q: got %v, want ErrNotFound", version, err)
		}
	}
}

// TestFindBelowAPrefixOfNames finds parameters in a store whose prefix is no
// folder.
func TestFindBelowAPrefixOfNames(t *testing.T) {
	a := server.Get(t)
	key, err := a.User(t.Context(), "prefixed")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"prefixed-a", "prefixed-b", "other-a"} {
		if _, err := a.PutParameter(t.Context(), region, name, "v"); err != nil {
			t.Fatal(err)
		}
	}
	settings := byKey()
	settings["service"], settings["prefix"] = "ParameterStore", "prefixed-"
	r, err := open(t, a, settings, keyPair(key.ID, key.Secret))
	if err != nil {
		t.Fatal(err)
	}
	found, err := r.(providers.Finder).Find(t.Context(), providers.Query{})
	if err != nil || fmt.Sprint(found) != "[a b]" {
		t.Errorf("Find: got %q, %v, want a and b", found, err)
	}
}
