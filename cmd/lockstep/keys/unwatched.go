package keys

import (
	"cmp"
	"context"
	"fmt"
	"io"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	lockstepv1alpha1 "github.com/lockstep-dev/lockstep/apis/lockstep/v1alpha1"
)

// unwatched returns the GitRepositories of the cluster that no Reseal looks
// after. What they hold is in the cluster, mostly; what is not may need a key.
func unwatched(ctx context.Context, kube client.Client) ([]string, error) {
	repositories := &metav1.PartialObjectMetadataList{}
	repositories.SetGroupVersionKind(sourcev1.GroupVersion.WithKind(sourcev1.GitRepositoryKind + "List"))
	if err := kube.List(ctx, repositories); err != nil {
		if apimeta.IsNoMatchError(err) {
			return nil, nil // nothing is synced here
		}
		return nil, fmt.Errorf("list GitRepositories: %w", err)
	}
	var reseals lockstepv1alpha1.ResealList
	if err := kube.List(ctx, &reseals); err != nil && !apimeta.IsNoMatchError(err) {
		return nil, fmt.Errorf("list Reseals: %w", err)
	}
	watched := map[types.NamespacedName]bool{}
	for _, r := range reseals.Items {
		watched[types.NamespacedName{Namespace: cmp.Or(r.Spec.SourceRef.Namespace, r.Namespace), Name: r.Spec.SourceRef.Name}] = true
	}
	var all []string
	for i := range repositories.Items {
		if at := client.ObjectKeyFromObject(&repositories.Items[i]); !watched[at] {
			all = append(all, at.String())
		}
	}
	return all, nil
}

// tellUnwatched names the GitRepositories that were not looked at.
func tellUnwatched(out io.Writer, all []string) {
	if len(all) > 0 {
		fmt.Fprintf(out, "Not looked at, but for what the cluster holds of them: GitRepository %s. Make a Reseal for each, or give a working tree with --path.\n", some(all))
	}
}
