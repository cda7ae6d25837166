package cluster_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lockstep-dev/lockstep/cmd/internal/cluster"
	"github.com/lockstep-dev/lockstep/sealer"
)

// Without a kubeconfig it is said what is missing, by everything that needs it.
func TestNoCluster(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	f := &cluster.Flags{}
	f.Bind(pflag.NewFlagSet("", pflag.ContinueOnError))
	if f.Namespace != "kube-system" || f.Name != "sealed-secrets-controller" {
		t.Errorf("the controller is %s/%s, not where kubeseal looks", f.Namespace, f.Name)
	}
	_, restErr := f.REST()
	_, controllerErr := f.Controller(t.Context())
	for _, err := range []error{restErr, controllerErr} {
		if !errors.Is(err, cluster.ErrNone) || strings.Contains(err.Error(), "KUBERNETES_MASTER") {
			t.Errorf("got %v", err)
		}
	}
}

// The variables that say to kubeseal where the controller is, say so here too;
// a flag wins.
func TestEnvironment(t *testing.T) {
	t.Setenv("SEALED_SECRETS_CONTROLLER_NAMESPACE", "lockstep-system")
	t.Setenv("SEALED_SECRETS_CONTROLLER_NAME", "mine")
	f, flags := &cluster.Flags{}, pflag.NewFlagSet("", pflag.ContinueOnError)
	f.Bind(flags)
	if f.Namespace != "lockstep-system" || f.Name != "mine" {
		t.Errorf("the controller is %s/%s", f.Namespace, f.Name)
	}
	if err := flags.Parse([]string{"--controller-namespace", "other"}); err != nil || f.Namespace != "other" || f.Name != "mine" {
		t.Errorf("with a flag: the controller is %s/%s, %v", f.Namespace, f.Name, err)
	}
}

func TestLimited(t *testing.T) {
	if text, err := cluster.Limited(bytes.NewReader(make([]byte, sealer.MaxBundle))); err != nil || len(text) != sealer.MaxBundle {
		t.Errorf("got %d bytes, %v", len(text), err)
	}
	if _, err := cluster.Limited(bytes.NewReader(make([]byte, sealer.MaxBundle+1))); err == nil {
		t.Error("one byte too many: no error")
	}
}

func TestArgs(t *testing.T) {
	cmd := &cobra.Command{Use: "set FILE ITEM"}
	for _, tc := range []struct {
		least, most, given int
		good               bool
	}{{1, 1, 1, true}, {1, 1, 0, false}, {1, 1, 2, false}, {1, -1, 9, true}, {0, 1, 0, true}} {
		err := cluster.Args(tc.least, tc.most)(cmd, make([]string, tc.given))
		if (err == nil) != tc.good || err != nil && !strings.Contains(err.Error(), "set FILE ITEM") {
			t.Errorf("%+v: got %v", tc, err)
		}
	}
}
