package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
)

// kind is one that get lists.
type kind struct {
	schema.GroupVersionResource
	name    string
	cluster bool // it is in no namespace
	// detail says what an object holds, from its content.
	detail func(object map[string]any) string
}

// groups are what can be asked for, in the order in which they are shown.
var groups = []struct {
	name  string
	kinds []kind
}{
	{"sources", []kind{
		{GroupVersionResource: schema.GroupVersionResource{Group: "source.toolkit.fluxcd.io", Version: "v1", Resource: "gitrepositories"}, name: "GitRepository",
			detail: func(o map[string]any) string { return short(text(o, "status", "artifact", "revision")) }},
	}},
	{"syncs", []kind{
		{GroupVersionResource: schema.GroupVersionResource{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Resource: "kustomizations"}, name: "Kustomization",
			detail: func(o map[string]any) string { return short(text(o, "status", "lastAppliedRevision")) }},
	}},
	{"secrets", []kind{
		{GroupVersionResource: schema.GroupVersionResource{Group: "bitnami.com", Version: "v1alpha1", Resource: "sealedsecrets"}, name: "SealedSecret",
			detail: func(o map[string]any) string {
				n, _, _ := unstructured.NestedMap(o, "spec", "encryptedData")
				return fmt.Sprintf("%d sealed", len(n))
			}},
		{GroupVersionResource: schema.GroupVersionResource{Group: "external-secrets.io", Version: "v1", Resource: "externalsecrets"}, name: "ExternalSecret",
			detail: func(o map[string]any) string { return "from " + text(o, "spec", "secretStoreRef", "name") }},
	}},
	{"stores", []kind{
		{GroupVersionResource: schema.GroupVersionResource{Group: "external-secrets.io", Version: "v1", Resource: "secretstores"}, name: "SecretStore", detail: provider},
		{GroupVersionResource: schema.GroupVersionResource{Group: "external-secrets.io", Version: "v1", Resource: "clustersecretstores"}, name: "ClusterSecretStore", cluster: true, detail: provider},
	}},
}

func groupNames() []string {
	var names []string
	for _, g := range groups {
		names = append(names, g.name)
	}
	return names
}

// selection is what get was asked for.
type selection struct {
	groups    []string // none: all
	namespace string   // empty: all
	failing   bool     // only what is not Ready
}

func getCmd() *cobra.Command {
	var s selection
	var all bool
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	overrides := &clientcmd.ConfigOverrides{}
	cmd := &cobra.Command{
		Use:       "get [" + strings.Join(groupNames(), "|") + "]...",
		Short:     "List sources, syncs, secrets and stores with their state",
		Example:   "  lockstep get --all-namespaces\n  lockstep get secrets --namespace production",
		Args:      cobra.OnlyValidArgs,
		ValidArgs: groupNames(),
		RunE: func(cmd *cobra.Command, args []string) error {
			config := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
			rest, err := config.ClientConfig()
			if err != nil {
				return fmt.Errorf("find cluster: %w", err)
			}
			c, err := dynamic.NewForConfig(rest)
			if err != nil {
				return fmt.Errorf("connect to cluster: %w", err)
			}
			s.groups = args
			if s.namespace, _, err = config.Namespace(); err != nil {
				return fmt.Errorf("find namespace: %w", err)
			}
			if all {
				s.namespace = ""
			}
			return get(cmd.Context(), cmd.OutOrStdout(), c, s, time.Now())
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

// get writes the table of what s selects.
func get(ctx context.Context, out io.Writer, c dynamic.Interface, s selection, now time.Time) error {
	var rows []row
	for _, g := range groups {
		if len(s.groups) > 0 && !slices.Contains(s.groups, g.name) {
			continue
		}
		for _, k := range g.kinds {
			found, err := list(ctx, c, k, s.namespace, now)
			if err != nil {
				return err
			}
			rows = append(rows, found...)
		}
	}
	if s.failing {
		rows = slices.DeleteFunc(rows, func(r row) bool { return r.ready == "True" })
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(out, "Nothing found"+where(s)+".")
		return err
	}
	return write(out, rows)
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
	if apierrors.IsNotFound(err) {
		return nil, nil // the cluster does not have this kind
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", k.Resource, err)
	}
	rows := make([]row, 0, len(found.Items))
	for _, o := range found.Items {
		rows = append(rows, toRow(k, o, now))
	}
	return rows, nil
}

func text(o map[string]any, path ...string) string {
	s, _, _ := unstructured.NestedString(o, path...)
	return s
}

// short cuts the hash of a revision such as main@sha1:0123... to seven digits.
func short(revision string) string {
	const digits = 7
	i := strings.LastIndexByte(revision, ':')
	if i < 0 || len(revision)-i-1 <= digits {
		return revision
	}
	return revision[:i+1+digits]
}

// provider names the service of a store.
func provider(o map[string]any) string {
	p, _, _ := unstructured.NestedMap(o, "spec", "provider")
	return strings.Join(slices.Sorted(maps.Keys(p)), ", ")
}
