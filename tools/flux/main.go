// Command flux builds the genuine client of Flux at the version that go.mod
// pins:
//
//	go run . PATH
//
// Its module lacks the manifests that it embeds for `flux install`, as they are
// made when it is released, and so does not build as a Go tool. This command
// builds a copy with an empty manifest in their place: all but install and
// bootstrap is as released.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const module = "github.com/fluxcd/flux2/v2"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "flux:", err)
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
	dir, err := goCommand("", "list", "-m", "-f", "{{.Dir}}", module)
	if err != nil {
		return err
	}
	version, err := goCommand("", "list", "-m", "-f", "{{.Version}}", module)
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp("", "flux")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	src := filepath.Join(tmp, "src")
	if err := os.CopyFS(src, os.DirFS(dir)); err != nil {
		return fmt.Errorf("copy %s: %w", module, err)
	}
	manifests := filepath.Join(src, "cmd", "flux", "manifests")
	if err := os.MkdirAll(manifests, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(manifests, "none.yaml"), []byte("# not part of the module\n"), 0o600); err != nil {
		return err
	}
	_, err = goCommand(src, "build", "-mod=mod", "-ldflags", "-s -w -X main.VERSION="+strings.TrimPrefix(version, "v"), "-o", out, "./cmd/flux")
	return err
}

// goCommand runs go in a folder and returns what it prints.
func goCommand(dir string, args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Stderr, cmd.Env = dir, os.Stderr, append(os.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}
