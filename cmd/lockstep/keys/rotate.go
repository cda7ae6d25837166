package keys

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockstep-dev/lockstep/reconciler/keys"
)

func rotateCmd() *cobra.Command {
	c := &settings{}
	var size int
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Make a new sealing key, which seals from now on; the others open as before",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			kube, err := c.connect()
			if err != nil {
				return err
			}
			secret, err := keys.NewSecret(keys.Template{Namespace: c.Namespace, Prefix: c.prefix, Size: size, TTL: ttl})
			if err != nil {
				return err
			}
			if err := kube.Create(cmd.Context(), secret); err != nil {
				return fmt.Errorf("create key Secret: %w", err)
			}
			made, err := keys.Parse(secret)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "Made the sealing key %s, in the Secret %s/%s.\nKeep a backup of it with lockstep keys backup, then seal again what is in Git: lockstep reseal.\n",
				short(made.Fingerprint), c.Namespace, secret.Name)
			return err
		},
	}
	c.bind(cmd)
	cmd.Flags().IntVar(&size, "key-size", 4096, "size of the key, in bits")
	cmd.Flags().DurationVar(&ttl, "key-ttl", 10*365*24*time.Hour, "validity of its certificate")
	return cmd
}
