package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/lockstep-dev/lockstep/test/testenv"
)

// peerSpecs is how many specs the integration suite of Sealed Secrets has, at
// the version that tools/peersuite pins.
const peerSpecs = 41

// The integration suite of Sealed Secrets runs as it is, and cannot tell our
// controller from the one that it was written for: neither with its own
// kubeseal nor with ours.
func TestPeerSuite(t *testing.T) {
	s := sealers.Get(t)
	suite, err := testenv.Binary(t.Context(), "peersuite", os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	genuine, err := testenv.Binary(t.Context(), "kubeseal", os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := testenv.Command(t.Context(), "kubeseal")
	if err != nil {
		t.Fatal(err)
	}
	controller, err := testenv.Command(t.Context(), "controller")
	if err != nil {
		t.Fatal(err)
	}
	s.serve(t, sealingService)
	for name, kubeseal := range map[string]string{"OurKubeseal": ours, "GenuineKubeseal": genuine} {
		t.Run(name, func(t *testing.T) {
			report := filepath.Join(t.TempDir(), "report.json")
			cmd := exec.CommandContext(t.Context(), suite, "-kubeconfig", s.Kubeconfig(), "-namespace", sealingNamespace,
				"-kubeseal-bin", kubeseal, "-controller-bin", controller, "-ginkgo.no-color", "-ginkgo.json-report", report)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			states := specs(t, report)
			if states["passed"] != peerSpecs || len(states) != 1 {
				t.Errorf("specs by what became of them: got %v, want %d passed", states, peerSpecs)
			}
		})
	}
}

// specs counts the specs of a report of Ginkgo by what became of them.
func specs(t *testing.T, report string) map[string]int {
	t.Helper()
	data, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	var suites []struct {
		SpecReports []struct{ LeafNodeType, State string }
	}
	if err := json.Unmarshal(data, &suites); err != nil {
		t.Fatal(err)
	}
	states := map[string]int{}
	for _, suite := range suites {
		for _, spec := range suite.SpecReports {
			if spec.LeafNodeType == "It" {
				states[spec.State]++
			}
		}
	}
	return states
}
