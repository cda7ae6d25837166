// Package keys holds the commands of lockstep that look after sealing keys:
// keys, and reseal.
package keys

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bitnamiv1alpha1 "github.com/lockstep-dev/lockstep/apis/bitnami/v1alpha1"
	lockstepv1alpha1 "github.com/lockstep-dev/lockstep/apis/lockstep/v1alpha1"
	"github.com/lockstep-dev/lockstep/cmd/internal/cluster"
	"github.com/lockstep-dev/lockstep/reconciler/keys"
	"github.com/lockstep-dev/lockstep/sealer"
)

// Commands returns keys and reseal.
func Commands() []*cobra.Command {
	cmd := &cobra.Command{Use: "keys", Short: "Look after the sealing keys of a cluster"}
	cmd.AddCommand(listCmd(), rotateCmd(), retireCmd(), backupCmd(), verifyBackupCmd(), restoreCmd())
	return []*cobra.Command{cmd, resealCmd()}
}

// settings say which controller is meant, and which of its Secrets are keys.
type settings struct {
	cluster.Flags
	prefix string // of the names of key Secrets
}

func (c *settings) bind(cmd *cobra.Command) {
	c.Bind(cmd.Flags())
	cmd.Flags().StringVar(&c.prefix, "key-prefix", "sealed-secrets-key", "prefix of the names of key Secrets")
}

func (c *settings) connect() (client.Client, error) {
	config, err := c.REST()
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, bitnamiv1alpha1.AddToScheme, lockstepv1alpha1.AddToScheme} {
		utilruntime.Must(add(scheme)) // fails only if a kind is registered twice
	}
	kube, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("connect to cluster: %w", err)
	}
	return kube, nil
}

// secrets returns the key Secrets of a cluster, the unlabelled one of the first
// releases of Sealed Secrets among them.
func (c *settings) secrets(ctx context.Context, kube client.Client) ([]corev1.Secret, error) {
	var all corev1.SecretList
	if err := kube.List(ctx, &all, client.InNamespace(c.Namespace), client.MatchingLabelsSelector{Selector: keys.Selector()}); err != nil {
		return nil, fmt.Errorf("list key Secrets in namespace %q: %w", c.Namespace, err)
	}
	var legacy corev1.Secret
	err := kube.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: c.prefix}, &legacy)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read key Secret: %w", err)
	}
	if _, labelled := legacy.Labels[bitnamiv1alpha1.LabelSealingKey]; err == nil && !labelled {
		all.Items = append(all.Items, legacy)
	}
	slices.SortFunc(all.Items, func(a, b corev1.Secret) int { return strings.Compare(a.Name, b.Name) })
	return all.Items, nil
}

// pair is a key, and the Secret that it lies in.
type pair struct {
	sealer.Key
	secret *corev1.Secret
}

// parse returns the keys of Secrets, newest first, in a Keyring too. Malformed
// ones are an error of their own: the rest is returned all the same.
func parse(secrets []corev1.Secret) ([]pair, *sealer.Keyring, error) {
	var pairs []pair
	var malformed []error
	ring := &sealer.Keyring{}
	var all []sealer.Key
	for i := range secrets {
		k, err := keys.Parse(&secrets[i])
		if err != nil {
			malformed = append(malformed, fmt.Errorf("key Secret %s: %w", secrets[i].Name, err))
			continue
		}
		pairs, all = append(pairs, pair{k, &secrets[i]}), append(all, k)
	}
	ring.Set(all...)
	slices.SortStableFunc(pairs, func(a, b pair) int { return b.Made().Compare(a.Made()) })
	return pairs, ring, errors.Join(malformed...)
}

func sealedSecrets(ctx context.Context, kube client.Client) ([]bitnamiv1alpha1.SealedSecret, error) {
	var all bitnamiv1alpha1.SealedSecretList
	if err := kube.List(ctx, &all); err != nil && !apimeta.IsNoMatchError(err) {
		return nil, fmt.Errorf("list SealedSecrets: %w", err)
	}
	return all.Items, nil
}

// short is as much of a fingerprint as people read.
func short(fingerprint string) string { return fingerprint[:min(len(fingerprint), 12)] }

// now is the clock of the commands.
func now() time.Time { return time.Now() }
