package aws_test

import (
	"fmt"
	"testing"

	"github.com/lockstep-dev/lockstep/providers"
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
