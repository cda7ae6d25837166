// Command lockstep is the client of the suite.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/lockstep-dev/lockstep/cmd/lockstep/keys"
	"github.com/lockstep-dev/lockstep/cmd/lockstep/seal"
)

// version is set by the linker.
var version = "v0.0.0-dev" //nolint:gochecknoglobals // -ldflags -X needs a variable

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := root().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "lockstep:", err)
		stop()
		os.Exit(1) //nolint:gocritic // exitAfterDefer: stop has been called
	}
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "lockstep",
		Short:         "Secrets and workloads, in lockstep with Git",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.AddCommand(getCmd(), versionCmd())
	cmd.AddCommand(seal.Commands()...)
	cmd.AddCommand(keys.Commands()...)
	return cmd
}

func versionCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "lockstep version: "+version)
			return err
		},
	}
}
