package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/lockstep-dev/lockstep/cmd/internal/cluster"
	"github.com/lockstep-dev/lockstep/sealer"
)

func restoreCmd() *cobra.Command {
	b := &backup{}
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Put the sealing keys of a backup into a cluster; keys that are there stay",
		Args:  cluster.Args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return b.restore(cmd.Context(), cmd.OutOrStdout(), args[0])
		},
	}
	b.bind(cmd)
	b.bindOpen(cmd)
	return cmd
}

func (b *backup) restore(ctx context.Context, out io.Writer, path string) error {
	secrets, err := b.open(path)
	if err != nil {
		return err
	}
	if _, _, err := parse(secrets); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	kube, err := b.connect()
	if err != nil {
		return err
	}
	var failed []error
	for i := range secrets {
		what, err := b.restoreOne(ctx, kube, &secrets[i])
		if err != nil {
			failed = append(failed, err)
			continue
		}
		fmt.Fprintf(out, "%s %s\n", what, secrets[i].Name)
	}
	return errors.Join(failed...)
}

// restoreOne creates a key Secret. One that is there is never changed: it may
// be of another cluster, and the only copy.
func (b *backup) restoreOne(ctx context.Context, kube client.Client, s *corev1.Secret) (string, error) {
	s.Namespace = b.Namespace
	err := kube.Create(ctx, s.DeepCopy())
	if !apierrors.IsAlreadyExists(err) {
		if err != nil {
			return "", fmt.Errorf("create key Secret %s: %w", s.Name, err)
		}
		return "restored", nil
	}
	var live corev1.Secret
	if err := kube.Get(ctx, client.ObjectKeyFromObject(s), &live); err != nil {
		return "", fmt.Errorf("read key Secret %s: %w", s.Name, err)
	}
	for item, value := range s.Data {
		if bytes.Equal(value, live.Data[item]) {
			continue
		}
		return "", fmt.Errorf("a Secret %s with another key is there: it is left alone; rename it if it is not needed", s.Name)
	}
	return "unchanged", nil
}

func verifyBackupCmd() *cobra.Command {
	b := &backup{}
	var offline bool
	cmd := &cobra.Command{
		Use:   "verify-backup FILE",
		Short: "See that a backup opens, that its keys are whole, and that it has every key of the cluster",
		Args:  cluster.Args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return b.verify(cmd.Context(), cmd.OutOrStdout(), args[0], offline)
		},
	}
	b.bind(cmd)
	b.bindOpen(cmd)
	cmd.Flags().BoolVar(&offline, "offline", false, "do not compare with the cluster")
	return cmd
}

func (b *backup) verify(ctx context.Context, out io.Writer, path string, offline bool) error {
	secrets, err := b.open(path)
	if err != nil {
		return err
	}
	pairs, _, err := parse(secrets)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	there := map[string]sealer.Key{}
	for _, p := range pairs {
		there[p.Fingerprint] = p.Key
		fmt.Fprintf(out, "%s %s\n", short(p.Fingerprint), p.secret.Name)
	}
	if offline {
		fmt.Fprintf(out, "The backup opens, and its %d keys are whole.\n", len(pairs))
		return nil
	}
	kube, err := b.connect()
	if err != nil {
		return err
	}
	live, err := b.secrets(ctx, kube)
	if err != nil {
		return err
	}
	current, _, err := parse(live)
	if err != nil {
		return err
	}
	var missing []error
	for _, p := range current {
		kept, ok := there[p.Fingerprint]
		if !ok || p.Hybrid != nil && (kept.Hybrid == nil || kept.Hybrid.ID != p.Hybrid.ID) {
			missing = append(missing, fmt.Errorf("the key %s, in the Secret %s, is not in the backup as a whole: make a new one with lockstep keys backup", short(p.Fingerprint), p.secret.Name))
		}
	}
	if len(missing) > 0 {
		return errors.Join(missing...)
	}
	fmt.Fprintf(out, "The backup opens, its %d keys are whole, and all %d keys of the cluster are in it.\n", len(pairs), len(current))
	return nil
}
