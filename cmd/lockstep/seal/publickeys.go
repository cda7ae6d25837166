package seal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/lockstep-dev/lockstep/cmd/internal/cluster"
	"github.com/lockstep-dev/lockstep/sealer"
)

func fetchCmd() *cobra.Command {
	t := &trust{}
	cmd := &cobra.Command{
		Use:   "fetch",
		Short: "Print the published keys of a cluster, for --cert and --recipient",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t.errs = cmd.ErrOrStderr()
			return t.fetch(cmd.Context(), cmd.OutOrStdout())
		},
	}
	t.bind(cmd)
	return cmd
}

// fetch prints what is trusted only.
func (t *trust) fetch(ctx context.Context, out io.Writer) error {
	text, server, err := t.published(ctx)
	if err != nil {
		return err
	}
	if _, err := t.target(text, server); err != nil {
		return err
	}
	_, err = out.Write(append(text, '\n'))
	return err
}

func keygenCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "keygen FILE",
		Short: "Make a key of no cluster, such as one for backups, and print its public key",
		Long: `Make a private key that lockstep open takes, and print the public key that
--recipient takes. FILE must not be there yet, and is as secret as all that is
sealed for it.`,
		Args: cluster.Args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error { return keygen(cmd.OutOrStdout(), args[0]) },
	}
}

func keygen(out io.Writer, path string) error {
	key, err := sealer.NewHybridKey(sealer.ClusterID{})
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(key.Encode())
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	_, err = fmt.Fprintln(out, key.String())
	return err
}
