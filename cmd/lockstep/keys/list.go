package keys

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/lockstep-dev/lockstep/reconciler/keys"
	"github.com/lockstep-dev/lockstep/sealer"
)

func listCmd() *cobra.Command {
	c := &settings{}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the sealing keys: age, state, and how much each sealed",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.list(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	c.bind(cmd)
	return cmd
}

func (c *settings) list(ctx context.Context, out, errs io.Writer) error {
	kube, err := c.connect()
	if err != nil {
		return err
	}
	secrets, err := c.secrets(ctx, kube)
	if err != nil {
		return err
	}
	objects, err := sealedSecrets(ctx, kube)
	if err != nil {
		return err
	}
	if len(secrets) == 0 {
		fmt.Fprintf(errs, "lockstep: there is no sealing key in namespace %s: is it the controller's? --controller-namespace names another\n", c.Namespace)
	}
	pairs, ring, malformed := parse(secrets)
	uses := keys.Count(objects)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KEY\tSECRET\tSTATE\tAGE\tEXPIRES\tOBJECTS\tITEMS\tENVELOPE 2")
	for _, p := range pairs {
		use := uses[p.Fingerprint]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\n", short(p.Fingerprint), p.secret.Name, keys.State(ring, p.Key),
			duration.HumanDuration(now().Sub(p.Made())), p.Certificate.NotAfter.Format(time.DateOnly), use.Objects, use.Items, hybrid(p.Key))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return malformed
}

// hybrid is the id of the key of envelope 2, which clients pin.
func hybrid(k sealer.Key) string {
	if k.Hybrid == nil {
		return "-"
	}
	return k.Hybrid.ID.String()
}
