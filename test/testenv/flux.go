package testenv

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Flux returns a function that runs the genuine client of Flux in a namespace
// of a control plane, and returns what it prints.
func Flux(t *testing.T, cp *ControlPlane, namespace string) func(args ...string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the genuine flux; not under -short")
	}
	path, err := Binary(t.Context(), "flux", os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	cfg := cp.RestConfig()
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: cfg.Host, CertificateAuthorityData: cfg.CAData}
	config.AuthInfos["u"] = &clientcmdapi.AuthInfo{ClientCertificateData: cfg.CertData, ClientKeyData: cfg.KeyData, Token: cfg.BearerToken}
	config.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	config.CurrentContext = "x"
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	return func(args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, path, append(args, "--kubeconfig", file, "--namespace", namespace)...)
		cmd.Env = append(os.Environ(), "HOME="+home)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("flux %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
}
