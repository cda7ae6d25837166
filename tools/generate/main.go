// Command generate writes what is generated from the Go types and markers of
// this repository: deep copies, and the CRDs and RBAC rules of the chart.
//
// It runs controller-gen, at the version that tools/controller-gen pins, and
// then makes its output what the chart needs: see [shape] and [rules].
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
)

// Where things are, from the root of the repository.
const (
	modfile  = "tools/controller-gen/go.mod"
	crdDir   = "charts/lockstep/crds"
	rulesDir = "charts/lockstep/files"
)

// crdPackages are the packages whose kinds the controller serves. Those of Flux
// hold more kinds than that; see served.
var crdPackages = []string{
	"./apis/...",
	"github.com/fluxcd/source-controller/api/v1",
	"github.com/fluxcd/kustomize-controller/api/v1",
}

// rulePackages are the packages whose kubebuilder:rbac markers are granted.
var rulePackages = []string{"./reconciler/...", "./externalsecrets/..."}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	tmp, err := os.MkdirTemp("", "lockstep-generate-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }() // a temporary folder; the system has the last word
	if err := controllerGen(ctx, "object", []string{"./apis/..."}); err != nil {
		return err
	}
	if err := controllerGen(ctx, "crd:maxDescLen=0", crdPackages, "output:crd:dir="+tmp); err != nil {
		return err
	}
	if err := writeCRDs(tmp, crdDir); err != nil {
		return err
	}
	if err := controllerGen(ctx, "rbac:roleName=lockstep", rulePackages, "output:rbac:dir="+tmp); err != nil {
		return err
	}
	return writeRules(filepath.Join(tmp, "role.yaml"), rulesDir)
}

// controllerGen runs one generator of controller-gen over packages.
func controllerGen(ctx context.Context, generator string, packages []string, output ...string) error {
	args := []string{"tool", "-modfile=" + modfile, "controller-gen", generator}
	for _, p := range packages {
		args = append(args, "paths="+p)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, output...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("controller-gen %s: %w\n%s", generator, err, strings.TrimSpace(string(out)))
	}
	return nil
}
