package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
)

// selection is what get was asked for.
type selection struct {
	names     []string // of groups and kinds; none: all
	namespace string   // empty: all
	failing   bool     // only what is not Ready
}

func getCmd() *cobra.Command {
	var s selection
	var all bool
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	overrides := &clientcmd.ConfigOverrides{}
	cmd := &cobra.Command{
		Use:   "get [GROUP|KIND]...",
		Short: "List sources, syncs, secrets, stores and generators with their state",
		Long: "List all that the controller serves, with its state. What is in no namespace is listed with any namespace.\n\n" +
			"Groups and kinds: " + strings.Join(names(), ", "),
		Example:   "  lockstep get --all-namespaces\n  lockstep get secrets --namespace production\n  lockstep get kustomizations buckets -A --failing",
		Args:      cobra.OnlyValidArgs,
		ValidArgs: names(),
		RunE: func(cmd *cobra.Command, args []string) error {
			config := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
			rest, err := config.ClientConfig()
			if err != nil {
				return fmt.Errorf("find cluster: %w", err)
			}
			rest.QPS = -1 // a request a kind, and no more
			c, err := dynamic.NewForConfig(rest)
			if err != nil {
				return fmt.Errorf("connect to cluster: %w", err)
			}
			s.names = args
			if s.namespace, _, err = config.Namespace(); err != nil {
				return fmt.Errorf("find namespace: %w", err)
			}
			if all {
				s.namespace = ""
			}
			return get(cmd.Context(), output{cmd.OutOrStdout(), cmd.ErrOrStderr()}, c, s, time.Now())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&rules.ExplicitPath, "kubeconfig", "", "path of the kubeconfig (default $KUBECONFIG, or ~/.kube/config)")
	flags.StringVar(&overrides.CurrentContext, "context", "", "context of the kubeconfig")
	flags.StringVarP(&overrides.Context.Namespace, "namespace", "n", "", "namespace to list (default that of the context)")
	flags.BoolVarP(&all, "all-namespaces", "A", false, "list all namespaces")
	flags.BoolVar(&s.failing, "failing", false, "list only what is not ready")
	return cmd
}

// output is where get writes the table to, and what there is to say about it.
type output struct{ table, notes io.Writer }

// get writes the table of what s selects. Kinds that the user may not list, or
// that the cluster does not have, are left out; the former is said.
func get(ctx context.Context, out output, c dynamic.Interface, s selection, now time.Time) error {
	var rows []row
	var refused []string
	for _, k := range s.kinds() {
		found, err := list(ctx, c, k, s.namespace, now)
		switch {
		case apierrors.IsNotFound(err):
		case apierrors.IsForbidden(err):
			refused = append(refused, k.Resource)
		case err != nil:
			return fmt.Errorf("list %s: %w", k.Resource, err)
		}
		rows = append(rows, found...)
	}
	if len(refused) > 0 {
		fmt.Fprintf(out.notes, "Left out, as you may not list them: %s.\n", strings.Join(refused, ", "))
	}
	if s.failing {
		rows = slices.DeleteFunc(rows, func(r row) bool { return r.ready == "True" || r.ready == inert })
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(out.table, "Nothing found"+where(s)+".")
		return err
	}
	return write(out.table, rows)
}

// kinds are those that s names, in our order.
func (s selection) kinds() (all []kind) {
	for _, g := range groups {
		for _, k := range g.kinds {
			if len(s.names) == 0 || slices.Contains(s.names, g.name) || slices.Contains(s.names, k.Resource) {
				all = append(all, k)
			}
		}
	}
	return all
}

func where(s selection) string {
	if s.namespace == "" {
		return ""
	}
	return fmt.Sprintf(" in namespace %q; --all-namespaces lists all", s.namespace)
}

func list(ctx context.Context, c dynamic.Interface, k kind, namespace string, now time.Time) ([]row, error) {
	var objects dynamic.ResourceInterface = c.Resource(k.GroupVersionResource)
	if namespace != "" && !k.cluster {
		objects = c.Resource(k.GroupVersionResource).Namespace(namespace)
	}
	found, err := objects.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	rows := make([]row, 0, len(found.Items))
	for _, o := range found.Items {
		rows = append(rows, toRow(k, o, now))
	}
	return rows, nil
}
