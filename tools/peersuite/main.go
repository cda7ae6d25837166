// Command peersuite builds the integration suite of Sealed Secrets, as it is,
// at the version that go.mod pins:
//
//	go run . PATH
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const suite = "github.com/bitnami-labs/sealed-secrets/integration"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "peersuite:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("want one argument: the path of the program to make")
	}
	out, err := filepath.Abs(args[0])
	if err != nil {
		return err
	}
	cmd := exec.Command("go", "test", "-c", "-mod=readonly", "-trimpath", "-tags", "integration", "-o", out, suite)
	cmd.Stdout, cmd.Stderr, cmd.Env = os.Stderr, os.Stderr, append(os.Environ(), "GOWORK=off")
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build %s: %w", suite, err)
	}
	return nil
}
