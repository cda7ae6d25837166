// Command controller is the whole suite in one process: it syncs what Git
// holds, opens SealedSecrets and fetches ExternalSecrets.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	ctrl "sigs.k8s.io/controller-runtime"
)

// version is set by the linker.
var version = "v0.0.0-dev" //nolint:gochecknoglobals // -ldflags -X needs a variable

func main() {
	err := run(ctrl.SetupSignalHandler(), os.Args[1:])
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "controller:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if o.version {
		fmt.Println("controller version: " + version) //nolint:forbidigo // what --version is for
		return nil
	}
	if err := o.setLogger(); err != nil {
		return err
	}
	o.tellIdle()
	o.keysAsked = keysAsked()
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find cluster: %w", err)
	}
	o.limit(config)
	namespaces, err := o.watched(o.namespace)
	if err != nil {
		return err
	}
	buildInfo(version)
	mgr, err := ctrl.NewManager(config, o.manager(namespaces))
	if err != nil {
		return fmt.Errorf("build manager: %w", err)
	}
	if err := setup(mgr, o); err != nil {
		return err
	}
	if err := trim(mgr); err != nil {
		return fmt.Errorf("set up memory: %w", err)
	}
	return mgr.Start(ctx)
}
